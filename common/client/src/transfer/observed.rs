//! Records the receiver's progress in an attempt, beside reporting it to the caller.

use std::cell::Cell;

use lariat_engine::tree::{Side, Watch};
use lariat_engine::{Again, Progress};
use lariat_wire::protocol::failure::{Failure, FileKind};
use lariat_wire::protocol::tree::Change;

/// Passes progress on to the caller's observer, and records what the loop of attempts needs.
pub(crate) struct Observed<'a> {
    progress: &'a dyn Progress,
    size: Cell<Option<u64>>,
    had: Cell<Option<u64>>,
    moved: Cell<u64>,
}

impl<'a> Observed<'a> {
    /// Passes progress on to `progress`.
    pub(crate) fn new(progress: &'a dyn Progress) -> Self {
        let (size, had, moved) = (Cell::default(), Cell::default(), Cell::default());
        Self { progress, size, had, moved }
    }

    /// Bytes of the file that its receiver had when the transfer began; `None` if it has not begun.
    pub(crate) fn had(&self) -> Option<u64> {
        self.had.get()
    }

    /// Bytes that remain to be transferred.
    pub(crate) fn left(&self) -> u64 {
        let there = self.had.get().unwrap_or_default() + self.moved.get();
        self.size.get().unwrap_or_default().saturating_sub(there)
    }
}

impl Progress for Observed<'_> {
    fn begin(&self, size: Option<u64>, have: u64) {
        self.had.set(Some(have));
        self.size.set(size);
        self.progress.begin(size, have);
    }

    fn moved(&self, bytes: u64) {
        self.moved.set(self.moved.get() + bytes);
        self.progress.moved(bytes);
    }

    fn again(&self, why: Again, chunks: u64) {
        self.progress.again(why, chunks);
    }
}

/// Passes a tree's events on to the caller's observer, and records how much remains.
pub(crate) struct ObservedTree<'a> {
    watch: &'a dyn Watch,
    listed: Cell<u64>,
    there: Cell<u64>,
}

impl<'a> ObservedTree<'a> {
    /// Passes events on to `watch`.
    pub(crate) fn new(watch: &'a dyn Watch) -> Self {
        Self { watch, listed: Cell::default(), there: Cell::default() }
    }

    /// Known bytes of files that remain to be transferred.
    pub(crate) fn left(&self) -> u64 {
        self.listed.get().saturating_sub(self.there.get())
    }
}

impl Watch for ObservedTree<'_> {
    fn listed(&self, bytes: u64) {
        self.listed.set(self.listed.get().saturating_add(bytes));
        self.watch.listed(bytes);
    }

    fn had(&self, bytes: u64) {
        self.there.set(self.there.get().saturating_add(bytes));
        self.watch.had(bytes);
    }

    fn moved(&self, bytes: u64) {
        self.there.set(self.there.get().saturating_add(bytes));
        self.watch.moved(bytes);
    }

    fn again(&self, why: Again, chunks: u64) {
        self.watch.again(why, chunks);
    }

    fn missed(&self, failure: &Failure, side: Side) {
        self.watch.missed(failure, side);
    }

    fn skipped(&self, path: &[u8], kind: FileKind) {
        self.watch.skipped(path, kind);
    }

    fn taken(&self, path: &[u8]) {
        self.watch.taken(path);
    }

    fn acl_dropped(&self, path: &[u8]) {
        self.watch.acl_dropped(path);
    }

    fn changed(&self, change: &Change) {
        self.watch.changed(change);
    }

    fn tells_sender(&self) -> bool {
        self.watch.tells_sender()
    }
}
