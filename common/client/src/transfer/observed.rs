//! What an attempt at a file learns of the receiver, beside what the caller's progress shows.

use std::cell::Cell;

use lariat_engine::Progress;

/// Passes progress on to the caller's, and keeps what the loop of attempts needs to know.
pub(crate) struct Observed<'a> {
    progress: &'a dyn Progress,
    had: Cell<Option<u64>>,
}

impl<'a> Observed<'a> {
    /// Passes progress on to this one.
    pub(crate) fn new(progress: &'a dyn Progress) -> Self {
        Self { progress, had: Cell::default() }
    }

    /// Bytes of the file that its receiver had when the file began to move; `None` if it has not begun.
    pub(crate) fn had(&self) -> Option<u64> {
        self.had.get()
    }
}

impl Progress for Observed<'_> {
    fn begin(&self, size: Option<u64>, have: u64) {
        self.had.set(Some(have));
        self.progress.begin(size, have);
    }

    fn moved(&self, bytes: u64) {
        self.progress.moved(bytes);
    }
}
