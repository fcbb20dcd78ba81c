//! How a host is, as the script on it says.

use crate::enrollment::reply::{Reply, one_line};

/// Most entries of a list.
const MOST: usize = 64;

/// How a host is. What was not said, or is not understood, is absent.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The user that the script runs as.
    pub(super) user: String,
    /// Why that is not root.
    pub(super) no_root: Option<String>,
    /// `Linux` and its version.
    pub(super) kernel: String,
    /// The processor's architecture, as `uname` names it.
    pub(super) machine: String,
    /// The C library.
    pub(super) libc: String,
    /// The host's clock, in seconds since 1970.
    pub(super) time: Option<i64>,
    /// Programs that the script needs and that are not there.
    pub(super) missing: Vec<String>,
    /// Directories that files go to.
    pub(super) directories: Vec<Directory>,
    /// The free bytes beneath directories.
    pub(super) disks: Vec<(String, u64)>,
    /// Whether systemd runs.
    pub(super) systemd: bool,
    /// Whether the agent's service is active.
    pub(super) active: bool,
    /// Whether the agent's service starts with the host.
    pub(super) enabled: bool,
    /// The agent's process, as systemd knows it.
    pub(super) main: u32,
    /// The processes that listen on the agent's port; process 0 is one that can't be seen.
    pub(super) holders: Vec<(u32, String)>,
    /// Whether the agent is from a package.
    pub(super) package: bool,
    /// The sum of the agent's program.
    pub(super) program: Option<String>,
    /// The sum of its unit.
    pub(super) unit: Option<String>,
    /// Its configuration.
    pub(super) config: Option<Vec<u8>>,
    /// Its certificate, PEM.
    pub(super) certificate: Option<Vec<u8>>,
    /// Whether it has a private key.
    pub(super) key: bool,
    /// Whether it has a keyring.
    pub(super) keyring: bool,
    /// Whether an earlier attempt has begun to change something, and has not finished.
    pub(super) unfinished: bool,
}

/// A directory that files go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) path: String,
    pub(super) owner: u32,
    pub(super) mode: u32,
}

impl Facts {
    /// Takes one of the script's lines.
    pub(crate) fn add(&mut self, reply: Reply) {
        match reply {
            Reply::Fact(key, value) => self.fact(&key, value),
            Reply::File(name, content) => match name.as_str() {
                "config" => self.config = Some(content),
                "certificate" => self.certificate = Some(content),
                "no-root" => self.no_root = Some(one_line(&content)),
                _ => {}
            },
            Reply::Begin | Reply::End | Reply::Done | Reply::Failed(_) => {}
        }
    }

    fn fact(&mut self, key: &str, value: String) {
        match key {
            "user" => self.user = value,
            "kernel" => self.kernel = value,
            "machine" => self.machine = value,
            "libc" => self.libc = value,
            "time" => self.time = value.parse().ok(),
            "missing" => add(&mut self.missing, Some(value)),
            "directory" => add(&mut self.directories, directory(&value)),
            "disk" => add(&mut self.disks, disk(&value)),
            "systemd" => self.systemd = true,
            "active" => self.active = value == "active",
            "enabled" => self.enabled = matches!(value.as_str(), "enabled" | "static" | "alias"),
            "main" => self.main = value.parse().unwrap_or_default(),
            "holder" => add(&mut self.holders, holder(&value)),
            "package" => self.package = true,
            "program" => self.program = first_word(&value),
            "unit" => self.unit = first_word(&value),
            "key" => self.key = true,
            "keyring" => self.keyring = true,
            "unfinished" => self.unfinished = true,
            _ => {}
        }
    }
}

fn add<T>(list: &mut Vec<T>, entry: Option<T>) {
    if list.len() < MOST {
        list.extend(entry);
    }
}

fn first_word(text: &str) -> Option<String> {
    text.split(' ').next().map(ToOwned::to_owned)
}

fn directory(text: &str) -> Option<Directory> {
    let mut words = text.split(' ');
    let path = words.next()?.to_owned();
    let owner = words.next()?.parse().ok()?;
    let mode = u32::from_str_radix(words.next()?, 8).ok()?;
    Some(Directory { path, owner, mode })
}

fn disk(text: &str) -> Option<(String, u64)> {
    let (path, kib) = text.split_once(' ')?;
    Some((path.to_owned(), kib.parse::<u64>().ok()?.saturating_mul(1024)))
}

fn holder(text: &str) -> Option<(u32, String)> {
    let (pid, program) = text.split_once(' ')?;
    Some((pid.parse().ok()?, program.to_owned()))
}
