//! The options that `push` and `pull` share.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use lariat_base::escape::escape;
use lariat_base::units::parse_rate;
use lariat_client::transfer::Streams;
use lariat_engine::account;
use lariat_wire::protocol::metadata::Preserve;
use lariat_wire::protocol::transfer::{Overrides, Sending};
use lariat_wire::protocol::tree::TreeOptions;

use super::mode::{Modes, parse_modes};
use super::{Rules, shown};
use crate::error::CliError;
use crate::text_file;

// Options of push and pull.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the contract")]
pub(crate) struct TransferOptions {
    /// Compress with zstd
    ///
    /// Incompressible data is sent as is.
    #[arg(long)]
    compress: bool,

    /// Act as this user of the host
    ///
    /// The default is the agent's own user. The same as NAME@HOST in TARGET.
    #[arg(short, long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    /// Connections for large files
    ///
    /// 1 to 8; with auto, connections are added while the rate rises.
    #[arg(long, value_name = "N|auto", default_value = "auto", hide_short_help = true)]
    streams: Streams,

    /// Limit the rate of all hosts together
    ///
    /// In bytes per second, such as 500K, 10M or 1G.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    bwlimit: Option<u64>,

    /// Set the mode: 644, or u=rw,go=r, or D755,F644
    ///
    /// A change such as u=rw,go=r is applied to the source's mode; D before a mode is for directories, F for files.
    #[arg(long, value_name = "MODE", value_parser = parse_modes)]
    chmod: Option<Modes>,

    /// Set the owner, by name or number
    #[arg(long, value_name = "USER[:GROUP]", value_parser = parse_owner)]
    chown: Option<String>,

    /// Keep replaced and deleted files as NAME~
    #[arg(long, hide_short_help = true)]
    backup: bool,

    /// Write into existing files, keeping their inode
    ///
    /// They may be mount points, or be in a directory that can't be written. An interruption leaves a mix of old and
    /// new, which the next run repairs.
    #[arg(long, conflicts_with = "backup", hide_short_help = true)]
    inplace: bool,

    #[command(flatten)]
    rules: Rules,

    /// Only the paths in FILE, relative to SOURCE
    ///
    /// One per line; - is stdin. The paths land beneath DEST.
    #[arg(long, value_name = "FILE", conflicts_with = "delete", hide_short_help = true)]
    files_from: Option<PathBuf>,

    /// Paths in --files-from FILE end with NUL
    #[arg(short = '0', long = "from0", requires = "files_from", hide_short_help = true)]
    from0: bool,

    /// Delete what the source does not have
    ///
    /// Once everything has arrived. Excluded names are not deleted.
    #[arg(long)]
    pub(crate) delete: bool,

    /// With --delete: delete nothing if more than N
    #[arg(long, value_name = "N", requires = "delete", hide_short_help = true)]
    max_delete: Option<u64>,

    /// List what would change; change nothing
    ///
    /// Each line is make, change, touch or delete, with the path.
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,

    /// Compare by content, not by size and time
    ///
    /// A single file always is compared by content, except in a dry run.
    #[arg(long)]
    pub(crate) checksum: bool,

    /// Verify written files by BLAKE3
    ///
    /// They are read back from the disk and compared with the source's; for a directory's files add --checksum. With
    /// --json, b3sum is a single file's hash.
    #[arg(long, hide_short_help = true)]
    verify: bool,

    /// Preserve hard links among a directory's files
    #[arg(short = 'H', long, hide_short_help = true)]
    hard_links: bool,

    /// Preserve extended attributes
    #[arg(short = 'X', long, hide_short_help = true)]
    xattrs: bool,

    /// Preserve ACLs
    ///
    /// Users and groups are matched by name where both hosts know it.
    #[arg(short = 'A', long, hide_short_help = true)]
    acls: bool,

    /// Preserve owners and groups
    ///
    /// By name where both hosts know it.
    #[arg(long, hide_short_help = true)]
    owner: bool,

    /// Preserve setuid, setgid and sticky bits
    #[arg(long, hide_short_help = true)]
    special: bool,
}

impl TransferOptions {
    /// Whether existing files are overwritten in place.
    pub(crate) fn in_place(&self) -> bool {
        self.inplace
    }

    /// The sender's options.
    pub(crate) fn sending(&self) -> Sending {
        Sending { compress: self.compress, rate: self.bwlimit, hash: self.verify }
    }

    /// The number of connections per file.
    pub(crate) fn streams(&self) -> Streams {
        self.streams
    }

    /// Divides the rate among this many hosts. Several hosts need no extra connections each.
    pub(crate) fn shared_by(mut self, hosts: usize) -> Self {
        if hosts > 1 && self.streams == Streams::Auto {
            self.streams = Streams::ONE;
        }
        let share = |rate: u64| (rate / (hosts as u64).max(1)).max(1);
        self.bwlimit = self.bwlimit.map(share);
        self
    }

    /// The options of a directory's transfer.
    pub(crate) fn tree(&self) -> TreeOptions {
        TreeOptions {
            rules: self.rules.0.clone(),
            only: Vec::new(),
            delete: self.delete,
            max_delete: self.max_delete,
            dry_run: self.dry_run,
            checksum: self.checksum || self.verify,
            hard_links: self.hard_links,
            preserve: self.preserve(),
            seed: rand::random(),
        }
    }

    /// The attributes that are preserved besides content, mode and time.
    pub(crate) fn preserve(&self) -> Preserve {
        Preserve { xattrs: self.xattrs, owner: self.owner, special: self.special, acls: self.acls }
    }

    /// The listed paths of a directory; empty for all of it.
    pub(crate) fn only(&self) -> Result<Vec<Vec<u8>>, CliError> {
        let Some(file) = &self.files_from else { return Ok(Vec::new()) };
        let mut text = Vec::new();
        let read = if file.as_os_str() == "-" {
            io::stdin().read_to_end(&mut text)
        } else {
            File::open(file).and_then(|mut file| file.read_to_end(&mut text))
        };
        let during = format!("read {}", shown(file.as_os_str()));
        read.map_err(|error| CliError::from(error).during(&during))?;
        let lines: Vec<&[u8]> = if self.from0 {
            text.split(|&byte| byte == 0).collect()
        } else {
            text_file::lines(&text).collect()
        };
        if let Some(line) = lines.iter().find(|line| leads_out(line)) {
            let why =
                format!("{} may lead out of the directory: a path in it has no ..", escape(line));
            return Err(CliError::new(why).during(&during));
        }
        let only: Vec<Vec<u8>> = lines.into_iter().filter_map(plain_path).collect();
        let listed = TreeOptions { only, ..TreeOptions::default() };
        listed.check().map_err(|error| CliError::from(error).during(&during))?;
        if listed.only.is_empty() {
            return Err(CliError::new("it lists no path").during(&during));
        }
        Ok(listed.only)
    }

    /// Whether a file lists the paths.
    pub(crate) fn lists(&self) -> bool {
        self.files_from.is_some()
    }

    /// Refuses options for directories when a file is transferred.
    pub(crate) fn check_for_file(&self) -> Result<(), CliError> {
        if self.files_from.is_some() { Err(not_a_directory()) } else { Ok(()) }
    }

    /// The attributes that the receiver sets.
    pub(crate) fn overrides(&self) -> Overrides {
        let (user, group) = match self.chown.as_deref().map(|owner| owner.split_once(':')) {
            Some(Some((user, group))) => (Some(user), Some(group)),
            Some(None) => (self.chown.as_deref(), None),
            None => (None, None),
        };
        let given =
            |name: Option<&str>| name.filter(|name| !name.is_empty()).map(ToOwned::to_owned);
        Overrides {
            mode: self.chmod.and_then(|modes| modes.file),
            directory_mode: self.chmod.and_then(|modes| modes.directory),
            user: given(user),
            group: given(group),
            backup: self.backup,
            in_place: self.inplace,
            verify: self.verify,
        }
    }
}

/// The error if paths are listed and the source is a file.
pub(crate) fn not_a_directory() -> CliError {
    let why = "--files-from lists what of a directory is moved, and this is a file";
    CliError::new(why).next("push or pull the directory that it is in")
}

/// A line's path without redundant `.` and `/`; `None` if nothing is left.
fn plain_path(line: &[u8]) -> Option<Vec<u8>> {
    let parts = line.split(|&b| b == b'/').filter(|&part| !matches!(part, b"" | b"."));
    let path = parts.collect::<Vec<_>>().join(&b'/');
    (!path.is_empty()).then_some(path)
}

/// Whether a line's path has `..`.
fn leads_out(line: &[u8]) -> bool {
    line.split(|&b| b == b'/').any(|part| part == b"..")
}

/// A user, a group or both.
fn parse_owner(text: &str) -> Result<String, String> {
    if text.split(':').all(str::is_empty) {
        return Err("it names no user and no group".to_owned());
    }
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    for name in [user, group] {
        account::number(name).map_err(|bad| bad.to_string())?;
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_paths_are_normalized() {
        let plain = |line: &str| plain_path(line.as_bytes()).map(|p| String::from_utf8(p).unwrap());
        assert_eq!(plain("./a//b/").as_deref(), Some("a/b"));
        assert_eq!(plain("/etc/x").as_deref(), Some("etc/x"));
        assert_eq!((plain(""), plain("./")), (None, None));
    }

    #[test]
    fn only_dot_dot_components_lead_out() {
        for out in ["..", "../f1", "a/../b", "a/.."] {
            assert!(leads_out(out.as_bytes()), "{out}");
        }
        assert!(!leads_out(b"a..b/...") && !leads_out(b""));
    }

    #[test]
    fn an_owner_is_a_user_a_group_or_both() {
        for good in ["www", "www:", ":www", "www:adm", "0:0"] {
            assert_eq!(parse_owner(good).as_deref(), Ok(good));
        }
        for bad in ["", ":", "4294967295", ":4294967295", "www:4294967296", "4294967295:adm"] {
            assert!(parse_owner(bad).is_err(), "{bad}");
        }
    }
}
