//! What is heard of a tree while it moves: counted, shown, and kept for the end.

use std::cell::{Cell, RefCell};

use lariat_base::escape::escape;
use lariat_engine::tree::{Side, Watch};
use lariat_wire::protocol::failure::{Failure, FileKind};
use lariat_wire::protocol::tree::{Change, ChangeKind};

use super::files::advised;
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
    /// Whether a dropped ACL was reported.
    told_acl: bool,
}

impl Remarks {
    /// An ACL does not travel, which is told once. The path is empty for the source itself.
    pub(crate) fn acl_dropped(&mut self, what: &str, path: &[u8]) {
        if !std::mem::replace(&mut self.told_acl, true) {
            let which = if path.is_empty() { "it".to_owned() } else { escape(path) };
            self.skipped.push(format!("{what}: {which} has an ACL, which is copied only with -A"));
        }
    }
}

/// A tree's bar.
pub(crate) struct TreeBar<'a> {
    bar: &'a Bar,
    /// What is being done, as errors begin.
    what: &'a str,
    listing: &'a Listing,
    /// Whether the bar is to be reset before it shows this attempt.
    fresh: Cell<bool>,
    /// Failures that the host told in an earlier attempt.
    there: Vec<Failure>,
    remarks: RefCell<Remarks>,
}

impl<'a> TreeBar<'a> {
    pub(crate) fn new(bar: &'a Bar, what: &'a str, listing: &'a Listing) -> Self {
        let fresh = Cell::new(true);
        Self { bar, what, listing, fresh, there: Vec::new(), remarks: RefCell::default() }
    }

    /// Knows which failures were told by the host, in an earlier attempt.
    pub(crate) fn knowing(self, there: &[Failure]) -> Self {
        Self { there: there.to_vec(), ..self }
    }

    fn bar(&self) -> &Bar {
        if self.fresh.take() {
            self.bar.anew();
        }
        self.bar
    }

    /// What is to be told at the end.
    pub(crate) fn into_remarks(self) -> Remarks {
        self.remarks.into_inner()
    }
}

impl Watch for TreeBar<'_> {
    fn listed(&self, bytes: u64) {
        self.bar().longer(bytes);
    }

    fn had(&self, bytes: u64) {
        self.bar().more(bytes);
    }

    fn moved(&self, bytes: u64) {
        self.bar().more(bytes);
    }

    fn missed(&self, failure: &Failure, side: Side) {
        let mut remarks = self.remarks.borrow_mut();
        if remarks.missed.len() == TOLD {
            remarks.more += 1;
            return;
        }
        let error = advised(failure.clone());
        let here = side == Side::Here && !self.there.contains(failure);
        let error = if here { error.during("here") } else { error };
        remarks.missed.push(error.during(self.what));
    }

    fn skipped(&self, path: &[u8], kind: FileKind) {
        let mut remarks = self.remarks.borrow_mut();
        if remarks.skipped.len() < TOLD {
            let what = match kind {
                FileKind::Fifo => "fifo",
                FileKind::Socket => "socket",
                FileKind::Device => "device",
                FileKind::Directory | FileKind::Symlink => "name",
            };
            let note = format!("{}: {}: a {what} is not copied", self.what, escape(path));
            remarks.skipped.push(note);
        }
    }

    fn acl_dropped(&self, path: &[u8]) {
        self.remarks.borrow_mut().acl_dropped(self.what, path);
    }

    fn tells_sender(&self) -> bool {
        false
    }

    fn changed(&self, change: &Change) {
        let what = match change.kind {
            ChangeKind::Make => "make",
            ChangeKind::Change => "change",
            ChangeKind::Touch => "touch",
            ChangeKind::Delete => "delete",
        };
        let line = format!("{what} {}", escape(&change.path));
        self.bar.aside(|| self.listing.line(&line));
    }
}
