//! The shared part of `push` and `pull`: counts, progress, and results.

mod destination;
mod direction;
mod early;
mod files;
mod listing;
mod mode;
mod options;
mod overlap;
mod report;
mod rules;
mod tree;
mod work;

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

use lariat_base::escape::escape;
use lariat_client::transfer::Moved;
use lariat_engine::tree::Side;
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::transfer::Hash;
use lariat_wire::protocol::tree::Changed;

use crate::error::CliError;
use crate::fanout::End;
pub(crate) use destination::check_sources;
pub(crate) use direction::{check_local, check_local_dest, no_remote_path};
pub(crate) use files::{Files, HERE, Item, failed_end, said};
pub(crate) use listing::Listing;
pub(crate) use options::{TransferOptions, not_a_directory};
pub(crate) use overlap::{Taken, taken};
use rules::Rules;
pub(crate) use tree::{Remarks, TreeWatch};
pub(crate) use work::{TransferJob, TransferWork};

/// The result of transfers to or from one host.
pub(crate) struct Tally {
    began: Instant,
    /// A dry run: files and bytes are those that would be transferred.
    dry_run: bool,
    /// What was done with the bytes: `sent` or `received`.
    word: &'static str,
    /// Files that arrived.
    files: u64,
    /// Their bytes.
    bytes: u64,
    /// Bytes that were sent.
    sent: u64,
    /// The most connections that a file used.
    streams: usize,
    /// Bytes that were there already.
    reused: u64,
    /// The changes that were made.
    done: Changed,
    /// The BLAKE3 hash of the last file, if it was verified.
    hash: Option<Hash>,
    /// The worst outcome of all files.
    end: End,
    /// The time limit was exceeded.
    timed_out: bool,
    /// The reader of stdout is gone.
    no_reader: bool,
    /// The signal that ended it.
    interrupted: Option<u8>,
    errors: Vec<CliError>,
    /// Skipped names, which are not failures.
    notes: Vec<String>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            dry_run: false,
            word: "sent",
            files: 0,
            bytes: 0,
            sent: 0,
            streams: 0,
            reused: 0,
            done: Changed::default(),
            hash: None,
            end: End::Ok,
            timed_out: false,
            no_reader: false,
            interrupted: None,
            errors: Vec::new(),
            notes: Vec::new(),
        }
    }
}

impl Tally {
    /// Nothing could be attempted.
    pub(crate) fn only(end: End, error: CliError) -> Self {
        Self { end, errors: vec![error], ..Self::default() }
    }

    /// The rest was given up after the time limit.
    pub(crate) fn timed_out(&mut self, error: CliError) {
        self.timed_out = true;
        self.failed(End::TimedOut, error);
    }

    /// The rest was given up after a signal.
    pub(crate) fn interrupted(&mut self, number: u8, error: CliError) {
        self.interrupted = Some(number);
        self.failed(End::Failed, error);
    }

    /// Adds files that arrived, with what all attempts transferred.
    pub(crate) fn arrived(&mut self, moved: Moved) {
        let Moved { files, size, bytes, sent, streams, allowed, done, hash, .. } = moved;
        self.hash = hash;
        self.files += files;
        self.bytes += size;
        self.done += done;
        self.sent += sent;
        self.streams = self.streams.max(streams);
        let allowed =
            allowed.map(|most| format!("this key's max_sessions allows {most} connections"));
        self.notes.extend(allowed.filter(|note| !self.notes.contains(note)));
        if !self.dry_run {
            self.reused += size.saturating_sub(bytes);
        }
    }

    /// Adds the remarks about a tree; `worded` completes the message of a failure.
    pub(crate) fn remark(
        &mut self,
        remarks: Remarks,
        worded: impl Fn((Side, Failure)) -> CliError,
    ) {
        let taken = remarks.told_taken();
        let Remarks { missed, skipped, more, .. } = remarks;
        self.errors.extend(missed.into_iter().map(worded));
        self.notes.extend(taken);
        self.notes.extend(skipped);
        if more > 0 {
            self.errors.push(CliError::new(format!("{more} more names failed")));
        }
    }

    /// Adds a note, which is no failure.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// A file failed; the others continue.
    pub(crate) fn failed(&mut self, end: End, error: CliError) {
        self.end = self.end.max(end);
        self.errors.push(error);
    }

    /// Adds another tally.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { dry_run, word, files, bytes, sent, streams, reused, done, .. } = *other;
        self.word = word;
        self.streams = self.streams.max(streams);
        self.done += done;
        self.dry_run |= dry_run;
        self.files += files;
        self.bytes += bytes;
        self.sent += sent;
        self.reused += reused;
        self.end = self.end.max(other.end());
    }

    /// The number of changed files. If there are none, and no deletions, the number of changed directories and
    /// links.
    pub(crate) fn changed(&self) -> u64 {
        let Changed { files, others, deleted } = self.done;
        if files == 0 && deleted == 0 { others } else { files }
    }

    /// The number of files that were up to date.
    pub(crate) fn unchanged(&self) -> u64 {
        self.files.saturating_sub(self.done.files)
    }

    /// Whether anything was changed.
    pub(crate) fn has_changed(&self) -> bool {
        !self.done.is_nothing()
    }

    /// Whether a signal ended it early.
    pub(crate) fn was_interrupted(&self) -> bool {
        self.interrupted.is_some()
    }

    /// How it ended; names of a tree that failed count.
    pub(crate) fn end(&self) -> End {
        if self.end == End::Ok && !self.errors.is_empty() { End::Errored } else { self.end }
    }
}

/// Removes a transfer's last word, which is the destination. Clap can't separate it from the sources if an option
/// stands between them. Without it, `missing` says from the only word what is missing, and what to type.
pub(crate) fn last_word(
    words: &mut Vec<OsString>,
    missing: impl FnOnce(&OsStr) -> (&'static str, String),
) -> Result<OsString, CliError> {
    if let [_, .., _] = words.as_slice()
        && let Some(last) = words.pop()
    {
        return Ok(last);
    }
    let (name, line) = missing(words.first().map(OsString::as_os_str).unwrap_or_default());
    Err(CliError::new(format!("{name} is missing")).hint(line))
}

/// Adds advice to the error of a missing source that contains a glob.
pub(crate) fn glob_hint(source: &[u8], error: CliError, on_host: bool) -> CliError {
    let is_glob = source.iter().any(|byte| b"*?[".contains(byte));
    if !is_glob || !error.is_missing() {
        return error;
    }
    error.next(if on_host {
        "globs are literal on a host: name the directory, and choose by --include and --exclude '*'"
    } else {
        "globs are literal: a shell replaces those that it finds files for, unless they are quoted"
    })
}

/// A path, escaped for display.
pub(crate) fn shown(path: &OsStr) -> impl Display {
    escape(path.as_bytes())
}
