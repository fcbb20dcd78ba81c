//! What `push` and `pull` share: counting, showing how it goes, and telling how it went.

mod distinct;
mod files;
mod listing;
mod many;
mod moved;
mod options;
mod progress;
mod push_tree;
mod report;
mod rules;
mod tree;

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

use lariat_common::escape::escape;
use lariat_common::name::HostName;
use lariat_common::protocol::transfer::{BadTransfer, Destination, check_name};

use crate::error::CliError;
use crate::fanout::End;
pub(crate) use distinct::check_distinct;
pub(crate) use files::{Broken, Files, Item};
pub(crate) use listing::Listing;
pub(crate) use many::{Many, Transfer};
pub(crate) use moved::Moved;
pub(crate) use options::TransferOptions;
pub(crate) use progress::Bar;
pub(crate) use push_tree::{Avoided, PushedTree, broken};
use rules::Rules;
pub(crate) use tree::{Remarks, TreeBar};

/// What was moved to or from one host.
pub(crate) struct Tally {
    began: Instant,
    /// Nothing was to be moved, only looked at: files and bytes are those that would be there.
    dry_run: bool,
    /// Files that arrived.
    files: u64,
    /// Their bytes.
    bytes: u64,
    /// Bytes that were sent.
    sent: u64,
    /// Bytes that were there already.
    reused: u64,
    /// The worst that came of any.
    end: End,
    /// Its time was over.
    timed_out: bool,
    /// Whoever read it from stdout has gone.
    no_reader: bool,
    errors: Vec<CliError>,
    /// What was passed over, which is no failure.
    notes: Vec<String>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            dry_run: false,
            files: 0,
            bytes: 0,
            sent: 0,
            reused: 0,
            end: End::Ok,
            timed_out: false,
            no_reader: false,
            errors: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Nothing could even be tried.
    pub(crate) fn only(end: End, error: CliError) -> Self {
        Self { end, errors: vec![error], ..Self::new() }
    }

    /// The same, of what was begun at this time.
    pub(crate) fn since(self, began: Instant) -> Self {
        Self { began, ..self }
    }

    /// The rest was given up, as its time was over.
    pub(crate) fn timed_out(&mut self, error: CliError) {
        self.timed_out = true;
        self.failed(End::Failed, error);
    }

    /// Files of `size` bytes arrived. `moved` of them came over the wire, in all attempts, as `sent`.
    pub(crate) fn arrived(&mut self, files: u64, size: u64, moved: u64, sent: u64) {
        self.files += files;
        self.bytes += size;
        self.sent += sent;
        if !self.dry_run {
            self.reused += size.saturating_sub(moved);
        }
    }

    /// What is to be told of a tree beyond that it arrived.
    pub(crate) fn remark(&mut self, remarks: Remarks) {
        let Remarks { missed, skipped, more, .. } = remarks;
        self.errors.extend(missed);
        self.notes.extend(skipped);
        if more > 0 {
            self.errors.push(CliError::new(format!("{more} more names failed")));
        }
    }

    /// A file did not; the others go on.
    pub(crate) fn failed(&mut self, end: End, error: CliError) {
        self.end = self.end.max(end);
        self.errors.push(error);
    }

    /// Another one's, in a sum of them.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { dry_run, files, bytes, sent, reused, .. } = *other;
        self.dry_run |= dry_run;
        self.files += files;
        self.bytes += bytes;
        self.sent += sent;
        self.reused += reused;
    }

    /// How it ended, names of a tree that were missed included.
    pub(crate) fn end(&self) -> End {
        if self.errors.is_empty() { End::Ok } else { self.end.max(End::Failed) }
    }
}

/// The name that a source has in its folder: the last component of its path, as it was written. One
/// that has none, such as `..`, can go only to a destination with a name of its own.
pub(crate) fn base_name<'a>(path: &'a [u8], dest: &[u8]) -> Result<&'a [u8], CliError> {
    const NAMELESS: &[u8] = b"source";
    let end = path.iter().rposition(|&b| b != b'/').map_or(0, |last| last + 1);
    let name = path[..end].rsplit(|&b| b == b'/').next().unwrap_or_default();
    let dest = Destination { path: dest.to_vec(), name: Vec::new() };
    match check_name(name) {
        Ok(()) => Ok(name),
        Err(BadTransfer::Name) if name.len() < 3 && !dest.is_inside() => Ok(NAMELESS),
        Err(why) => {
            Err(CliError::new(format!("{}: {why}", escape(path)))
                .next("give DEST a name of its own"))
        }
    }
}

/// Takes the last of a transfer's words, which says where to and is called `name`. Clap can't tell it
/// from the sources before it where an option stands between them.
pub(crate) fn last_word(
    words: &mut Vec<OsString>,
    name: &str,
    usage: &str,
) -> Result<OsString, CliError> {
    if let [_, .., _] = words.as_slice()
        && let Some(last) = words.pop()
    {
        return Ok(last);
    }
    Err(CliError::new(format!("the following required arguments were not provided: <{name}>"))
        .hint(usage))
}

/// What stands for the host's name.
const HOST: &[u8] = b"{host}";

/// Whether it is not the same for every host.
pub(crate) fn names_host(text: &[u8]) -> bool {
    text.windows(HOST.len()).any(|window| window == HOST)
}

/// A text for one host: `{host}` in it is the host's name.
pub(crate) fn for_host(text: &[u8], host: &HostName) -> Vec<u8> {
    let mut left = text;
    let mut made = Vec::with_capacity(text.len());
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
        for path in [&b"/srv/a"[..], b"a", b"a/", b"/a//"] {
            assert_eq!(base_name(path, b"").unwrap(), b"a");
        }
        for bad in [&b""[..], b"/", b"a/..", b"."] {
            assert!(base_name(bad, b"srv/").is_err() && base_name(bad, b"").is_err());
            assert_eq!(base_name(bad, b"/srv/www").unwrap(), b"source");
        }
        assert!(base_name(&[b'x'; 256], b"www").is_err());
    }
}
