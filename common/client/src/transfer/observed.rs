//! What an attempt at a file learns of the receiver, beside what the caller's progress shows.

use std::cell::Cell;

use lariat_engine::Progress;

/// Passes progress on to the caller's, and keeps what the loop of attempts needs to know.
pub(crate) struct Observed<'a> {
    progress: &'a dyn Progress,
    size: Cell<Option<u64>>,
    had: Cell<Option<u64>>,
    moved: Cell<u64>,
}

impl<'a> Observed<'a> {
    /// Passes progress on to this one.
    pub(crate) fn new(progress: &'a dyn Progress) -> Self {
        let (size, had, moved) = (Cell::default(), Cell::default(), Cell::default());
        Self { progress, size, had, moved }
    }

    /// Bytes of the file that its receiver had when the file began to move; `None` if it has not begun.
    pub(crate) fn had(&self) -> Option<u64> {
        self.had.get()
    }

    /// Bytes that have been moved in this attempt.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.get()
    }

    /// Bytes that are left to be moved.
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
}
