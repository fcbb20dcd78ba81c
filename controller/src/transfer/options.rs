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
    /// Compress what can be; what can't is noticed and sent as it is
    #[arg(long)]
    compress: bool,

    /// With the rights of this user of the host, instead of the agent's own; the same as NAME@HOST
    #[arg(short, long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    /// Use this many connections for each large file, 1 to 8; auto adds them while the rate rises by it
    #[arg(long, value_name = "N|auto", default_value = "auto")]
    streams: Streams,

    /// Send at most this much a second to or from all hosts together, in bytes or with K, M, G
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    bwlimit: Option<u64>,

    /// Give files this mode, in octal, or change the source's: u=rw,go=r; D before a change is for directories
    #[arg(long, value_name = "MODE", value_parser = parse_modes)]
    chmod: Option<Modes>,

    /// Give files to this user and group, by name or number
    #[arg(long, value_name = "USER[:GROUP]", value_parser = parse_owner)]
    chown: Option<String>,

    /// Keep what is replaced, or removed by --delete, under its name with ~ behind it
    #[arg(long)]
    backup: bool,

    /// Write into files that are there instead of replacing them: they keep their inode, and may be mount points or
    /// in a directory that may not be written. A cut leaves a mix of old and new, which the next run mends
    #[arg(long, conflicts_with = "backup")]
    inplace: bool,

    #[command(flatten)]
    rules: Rules,

    /// Of a directory move only the paths that this file lists, one a line, relative to SOURCE; - is stdin
    #[arg(long, value_name = "FILE", conflicts_with = "delete")]
    files_from: Option<PathBuf>,

    /// Paths in the file of --files-from end with a NUL byte instead of a line's end
    #[arg(short = '0', long = "from0", requires = "files_from")]
    from0: bool,

    /// Remove from a directory's copy what the source does not have, once everything has arrived
    #[arg(long)]
    pub(crate) delete: bool,

    /// Delete nothing, and fail, if --delete would take more than this many names away
    #[arg(long, value_name = "N", requires = "delete")]
    max_delete: Option<u64>,

    /// Change nothing; list what would be made, changed, touched and deleted
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,

    /// Compare files by content, not by size and time. A file that goes alone always is, but in a dry run
    #[arg(long)]
    pub(crate) checksum: bool,

    /// Read what was written back from the disk, and compare its BLAKE3 with the source's; of a directory's files
    /// --checksum too. With --json `b3sum` has a single file's
    #[arg(long)]
    verify: bool,

    /// Files of a directory that are one file under several names stay so
    #[arg(short = 'H', long)]
    hard_links: bool,

    /// Extended attributes travel
    #[arg(short = 'X', long)]
    xattrs: bool,

    /// ACLs travel, with users and groups by name where both hosts know it
    #[arg(short = 'A', long)]
    acls: bool,

    /// Owners and groups travel, by name where both hosts know it
    #[arg(long)]
    owner: bool,

    /// Setuid, setgid and sticky bits travel
    #[arg(long)]
    special: bool,
}

impl TransferOptions {
    /// Whether files that are there are written into.
    pub(crate) fn in_place(&self) -> bool {
        self.inplace
    }

    /// How the sender is to send.
    pub(crate) fn sending(&self) -> Sending {
        Sending { compress: self.compress, rate: self.bwlimit, hash: self.verify }
    }

    /// How many connections a file uses.
    pub(crate) fn streams(&self) -> Streams {
        self.streams
    }

    /// Shares the rate among this many hosts at once. The connections of several hosts are many already.
    pub(crate) fn shared_by(mut self, hosts: usize) -> Self {
        if hosts > 1 && self.streams == Streams::Auto {
            self.streams = Streams::ONE;
        }
        let share = |rate: u64| (rate / (hosts as u64).max(1)).max(1);
        self.bwlimit = self.bwlimit.map(share);
        self
    }

    /// What both ends do with a directory.
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

    /// What of files and directories preserve beside their content, mode and time.
    pub(crate) fn preserve(&self) -> Preserve {
        Preserve { xattrs: self.xattrs, owner: self.owner, special: self.special, acls: self.acls }
    }

    /// The paths that are moved, if not all of a directory.
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

    /// Whether a file lists what is moved.
    pub(crate) fn lists(&self) -> bool {
        self.files_from.is_some()
    }

    /// Refuses what is only for directories, when a file is moved.
    pub(crate) fn check_for_file(&self) -> Result<(), CliError> {
        if self.files_from.is_some() { Err(not_a_directory()) } else { Ok(()) }
    }

    /// What the receiver is to make of it.
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

/// Paths of a directory are listed, and the source is a file.
pub(crate) fn not_a_directory() -> CliError {
    let why = "--files-from lists what of a directory is moved, and this is a file";
    CliError::new(why).next("push or pull the directory that it is in")
}

/// A line's path without the `.` and `/` that lead nowhere; none if nothing is left.
fn plain_path(line: &[u8]) -> Option<Vec<u8>> {
    let parts = line.split(|&b| b == b'/').filter(|&part| !matches!(part, b"" | b"."));
    let path = parts.collect::<Vec<_>>().join(&b'/');
    (!path.is_empty()).then_some(path)
}

/// Whether a line's path may lead anywhere.
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
    fn listed_paths_are_made_plain() {
        let plain = |line: &str| plain_path(line.as_bytes()).map(|p| String::from_utf8(p).unwrap());
        assert_eq!(plain("./a//b/").as_deref(), Some("a/b"));
        assert_eq!(plain("/etc/x").as_deref(), Some("etc/x"));
        assert_eq!((plain(""), plain("./")), (None, None));
    }

    #[test]
    fn a_listed_path_leads_out_by_a_component_alone() {
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
