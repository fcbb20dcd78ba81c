//! A bar on the terminal while a file moves; nothing at all when stderr is not one.

use std::cell::Cell;

use indicatif::{ProgressBar, ProgressStyle};
use lariat_common::transfer::Progress;

/// One file's bar. It goes when it is dropped.
pub(crate) struct Bar {
    drawn: ProgressBar,
    begun: Cell<bool>,
    /// Bytes of a file that its receiver had when it began last.
    had: Cell<Option<u64>>,
}

impl Bar {
    /// A bar for a file; it is drawn from its first bytes on.
    pub(crate) fn new(name: &str) -> Self {
        let style = ProgressStyle::with_template(
            "{msg:24!} {wide_bar} {binary_bytes:>10}/{binary_total_bytes} {binary_bytes_per_sec:>12} {eta:>4}",
        );
        let bar = ProgressBar::new(0).with_message(name.to_owned());
        // A template that does not parse would be our mistake; the plain bar does as well.
        let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { drawn: bar, begun: Cell::new(false), had: Cell::default() }
    }

    /// None, where others are shown.
    pub(crate) fn hidden() -> Self {
        Self { drawn: ProgressBar::hidden(), begun: Cell::new(false), had: Cell::default() }
    }

    /// Whether the file has begun to move since this was asked last.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.take()
    }

    /// Bytes of the file that its receiver had when it began last; nothing of a tree.
    pub(crate) fn had(&self) -> Option<u64> {
        self.had.get()
    }
}

impl Bar {
    /// A tree begins, or begins again: what there is of it is about to be listed.
    pub(crate) fn anew(&self) {
        self.drawn.set_length(0);
        self.drawn.set_position(0);
    }

    /// These many more bytes belong to the tree.
    pub(crate) fn longer(&self, bytes: u64) {
        self.drawn.inc_length(bytes);
    }

    /// These many more bytes of it are there.
    pub(crate) fn more(&self, bytes: u64) {
        self.drawn.inc(bytes);
    }

    /// Writes something else to the terminal.
    pub(crate) fn aside(&self, write: impl FnOnce()) {
        self.drawn.suspend(write);
    }
}

impl Progress for Bar {
    fn begin(&self, size: Option<u64>, have: u64) {
        self.begun.set(true);
        self.had.set(Some(have));
        match size {
            Some(size) => self.drawn.set_length(size),
            None => self.drawn.unset_length(),
        }
        self.drawn.set_position(have);
        // The rate is of what moves, not of what was there.
        self.drawn.reset_eta();
    }

    fn moved(&self, bytes: u64) {
        self.drawn.inc(bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.drawn.finish_and_clear();
    }
}
