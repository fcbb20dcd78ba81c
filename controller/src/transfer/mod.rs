//! What `push` and `pull` share: counting, showing how it goes, and telling how it went.

mod options;
mod patience;
mod progress;
mod report;

use std::ffi::OsStr;
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

use lariat_common::escape::escape;
use lariat_common::protocol::transfer::check_name;

use crate::error::CliError;
pub(crate) use options::TransferOptions;
pub(crate) use patience::{Patience, is_broken_connection, may_come_back};
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

impl Tally {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), files: 0, bytes: 0, sent: 0, reused: 0, errors: Vec::new() }
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
    let name = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
    check_name(name).map_err(|why| CliError::new(format!("{}: {why}", escape(path))))?;
    Ok(name)
}

/// A path as it is shown.
pub(crate) fn shown(path: &OsStr) -> impl Display {
    escape(path.as_bytes())
}
