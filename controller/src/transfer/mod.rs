//! What `push` and `pull` share: counting, showing how it goes, and telling how it went.

mod files;
mod options;
mod progress;
mod report;

use std::ffi::OsStr;
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

use lariat_common::escape::escape;
use lariat_common::name::HostName;
use lariat_common::protocol::transfer::check_name;

use crate::error::CliError;
use crate::target::{Chosen, Targets};
pub(crate) use files::{Broken, Files, Item, Moved};
pub(crate) use options::TransferOptions;
pub(crate) use progress::Bar;

/// What was moved to or from one host.
pub(crate) struct Tally {
    began: Instant,
    /// Files that arrived.
    files: u64,
    /// Their bytes.
    bytes: u64,
    /// Bytes that were sent.
    sent: u64,
    /// Bytes that were there already.
    reused: u64,
    errors: Vec<CliError>,
}

/// The one host that is meant.
pub(crate) fn one_host(targets: &Targets) -> Result<Chosen, CliError> {
    let several =
        || CliError::new(format!("{targets}: files go to and from one host at a time yet"));
    let chosen = targets.plain().ok_or_else(several)?;
    if chosen.user.is_some() {
        return Err(CliError::new(format!(
            "{targets}: a user before '@' is not supported here yet"
        )));
    }
    Ok(chosen)
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), files: 0, bytes: 0, sent: 0, reused: 0, errors: Vec::new() }
    }

    /// Nothing could even be tried.
    pub(crate) fn only(error: CliError) -> Self {
        Self { errors: vec![error], ..Self::new() }
    }

    /// A file of `size` bytes arrived. `moved` of them came over the wire, in all attempts, as `sent`.
    pub(crate) fn arrived(&mut self, size: u64, moved: u64, sent: u64) {
        self.files += 1;
        self.bytes += size;
        self.sent += sent;
        self.reused += size.saturating_sub(moved);
    }

    /// A file did not; the others go on.
    pub(crate) fn failed(&mut self, error: CliError) {
        self.errors.push(error);
    }
}

/// The name that a file has in its folder: the last component of its path, as it was written.
pub(crate) fn base_name(path: &[u8]) -> Result<&[u8], CliError> {
    if path.is_empty() || path.ends_with(b"/") {
        return Err(CliError::new("it is a folder, and only files can be moved yet"));
    }
    let name = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
    check_name(name).map_err(|why| CliError::new(format!("{}: {why}", escape(path))))?;
    Ok(name)
}

/// What stands for the host's name in a destination.
const HOST: &[u8] = b"{host}";

/// A destination for one host: `{host}` in it is the host's name.
pub(crate) fn for_host(dest: &[u8], host: &HostName) -> Vec<u8> {
    let mut left = dest;
    let mut made = Vec::with_capacity(dest.len());
    while let Some(at) = left.windows(HOST.len()).position(|window| window == HOST) {
        made.extend_from_slice(&left[..at]);
        made.extend_from_slice(host.as_str().as_bytes());
        left = &left[at + HOST.len()..];
    }
    made.extend_from_slice(left);
    made
}

/// A path as it is shown.
pub(crate) fn shown(path: &OsStr) -> impl Display {
    escape(path.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_stands_for_the_hosts_name_wherever_it_is() {
        let made = |dest: &[u8]| for_host(dest, &"web1".parse().unwrap());
        assert_eq!(made(b"/backup/{host}/{host}.sql"), b"/backup/web1/web1.sql");
        assert_eq!(made(b"{host}"), b"web1");
        assert_eq!(made(b"a{hos}t\xff{}"), b"a{hos}t\xff{}");
        assert_eq!(made(b""), b"");
    }

    #[test]
    fn a_files_name_is_its_paths_last_part() {
        assert_eq!(base_name(b"/srv/a").unwrap(), b"a");
        for bad in [&b""[..], b"/", b"a/", b"a/.."] {
            assert!(base_name(bad).is_err());
        }
    }
}
