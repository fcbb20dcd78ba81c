//! Collects the events of a tree's transfer: counts, progress, and remarks for the end.

use std::cell::{Cell, RefCell};

use lariat_base::escape::escape;
use lariat_engine::Progress;
use lariat_engine::tree::{Side, Watch};
use lariat_wire::protocol::failure::{Failure, FileKind};
use lariat_wire::protocol::tree::{Change, ChangeKind};

use super::Listing;
use super::overlap::left_out;
use crate::progress::ItemProgress;

/// Most failures that are reported one by one, and most skipped names.
const TOLD: usize = 1000;

/// Remarks for the end.
#[derive(Default)]
pub(crate) struct Remarks {
    /// Failures, and on which end they happened.
    pub(crate) missed: Vec<(Side, Failure)>,
    /// Skipped names.
    pub(crate) skipped: Vec<String>,
    /// The number of further failures.
    pub(crate) more: usize,
    /// Whether a dropped ACL was reported.
    told_acl: bool,
    /// What `taken` is of, the first name, and how many there are.
    taken: Option<(String, String, usize)>,
}

impl Remarks {
    /// Says which names an earlier source has.
    pub(crate) fn told_taken(&self) -> Option<String> {
        let (what, first, count) = self.taken.as_ref()?;
        Some(left_out(what, first, count - 1, "an earlier source"))
    }

    /// Reports, once, that an ACL is not copied. The path is empty for the source itself.
    pub(crate) fn acl_dropped(&mut self, what: &str, path: &[u8]) {
        if !std::mem::replace(&mut self.told_acl, true) {
            let which = if path.is_empty() { "it".to_owned() } else { escape(path) };
            self.skipped.push(format!("{what}: {which} has an ACL, which is copied only with -A"));
        }
    }
}

/// Passes a tree's events on.
pub(crate) struct TreeWatch<'a> {
    progress: &'a ItemProgress<'a>,
    /// The operation, as the prefix of errors.
    what: &'a str,
    listing: &'a Listing,
    /// Whether to reset the progress before this attempt's.
    fresh: Cell<bool>,
    /// Failures that the host reported in an earlier attempt.
    there: Vec<Failure>,
    remarks: RefCell<Remarks>,
}

impl<'a> TreeWatch<'a> {
    pub(crate) fn new(progress: &'a ItemProgress<'a>, what: &'a str, listing: &'a Listing) -> Self {
        let fresh = Cell::new(true);
        Self { progress, what, listing, fresh, there: Vec::new(), remarks: RefCell::default() }
    }

    /// Skips failures that the host reported in an earlier attempt.
    pub(crate) fn knowing(self, there: &[Failure]) -> Self {
        Self { there: there.to_vec(), ..self }
    }

    fn progress(&self) -> &ItemProgress<'a> {
        if self.fresh.take() {
            self.progress.anew();
        }
        self.progress
    }

    /// The remarks for the end.
    pub(crate) fn into_remarks(self) -> Remarks {
        self.remarks.into_inner()
    }
}

impl Watch for TreeWatch<'_> {
    fn listed(&self, bytes: u64) {
        self.progress().longer(bytes);
    }

    fn had(&self, bytes: u64) {
        self.progress().had(bytes);
    }

    fn moved(&self, bytes: u64) {
        self.progress().moved(bytes);
    }

    fn missed(&self, failure: &Failure, side: Side) {
        let mut remarks = self.remarks.borrow_mut();
        if remarks.missed.len() == TOLD {
            remarks.more += 1;
            return;
        }
        let side = if self.there.contains(failure) { Side::There } else { side };
        remarks.missed.push((side, failure.clone()));
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

    fn taken(&self, path: &[u8]) {
        let mut remarks = self.remarks.borrow_mut();
        let first = || (self.what.to_owned(), escape(path), 0);
        remarks.taken.get_or_insert_with(first).2 += 1;
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
        self.progress.aside(|| self.listing.line(&line));
    }
}
