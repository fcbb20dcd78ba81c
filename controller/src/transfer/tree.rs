//! What is heard of a tree while it moves: counted, shown, and kept for the end.

use std::cell::RefCell;

use lariat_common::escape::escape;
use lariat_common::protocol::failure::{Failure, FileKind};
use lariat_common::protocol::tree::{Change, ChangeKind};
use lariat_common::transfer::tree::{Side, Watch};

use super::{Bar, Listing};
use crate::error::CliError;

/// Failures that are told one by one, and as many names that are passed over.
const TOLD: usize = 1000;

/// What is told at the end.
#[derive(Default)]
pub(crate) struct Remarks {
    /// What failed.
    pub(crate) missed: Vec<CliError>,
    /// What was passed over.
    pub(crate) skipped: Vec<String>,
    /// Failures beyond those that are told.
    pub(crate) more: usize,
}

/// A tree's bar.
pub(crate) struct TreeBar<'a> {
    bar: &'a Bar,
    /// What is being done, as errors begin.
    what: &'a str,
    listing: &'a Listing,
    remarks: RefCell<Remarks>,
}

impl<'a> TreeBar<'a> {
    pub(crate) fn new(bar: &'a Bar, what: &'a str, listing: &'a Listing) -> Self {
        bar.anew();
        Self { bar, what, listing, remarks: RefCell::default() }
    }

    /// What is to be told at the end.
    pub(crate) fn into_remarks(self) -> Remarks {
        self.remarks.into_inner()
    }
}

impl Watch for TreeBar<'_> {
    fn listed(&self, bytes: u64) {
        self.bar.longer(bytes);
    }

    fn had(&self, bytes: u64) {
        self.bar.more(bytes);
    }

    fn moved(&self, bytes: u64) {
        self.bar.more(bytes);
    }

    fn missed(&self, failure: &Failure, side: Side) {
        let mut remarks = self.remarks.borrow_mut();
        if remarks.missed.len() == TOLD {
            remarks.more += 1;
            return;
        }
        let error = CliError::from(failure.clone());
        let error = if side == Side::Here { error.during("here") } else { error };
        remarks.missed.push(error.during(self.what));
    }

    fn skipped(&self, path: &[u8], kind: FileKind) {
        let mut remarks = self.remarks.borrow_mut();
        if remarks.skipped.len() < TOLD {
            let what = match kind {
                FileKind::Fifo => "fifo",
                FileKind::Socket => "socket",
                FileKind::Device => "device",
                FileKind::Folder | FileKind::Symlink => "name",
            };
            let note = format!("{}: {}: a {what} is not copied", self.what, escape(path));
            remarks.skipped.push(note);
        }
    }

    fn changed(&self, change: &Change) {
        let what = match change.kind {
            ChangeKind::Make => "make",
            ChangeKind::Change => "change",
            ChangeKind::Touch => "touch",
            ChangeKind::Delete => "delete",
        };
        let path = if change.path.is_empty() { b".".as_slice() } else { &change.path };
        let line = format!("{what} {}", escape(path));
        self.bar.aside(|| self.listing.line(&line));
    }
}
