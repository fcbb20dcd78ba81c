//! A bar on the terminal while a file moves; nothing at all when stderr is not one.

use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use lariat_engine::Progress;

use crate::outages::Shown;

/// A bar while its file moves.
const MOVES: &str = "{msg:24!} {wide_bar} {binary_bytes:>10}/{binary_total_bytes} {binary_bytes_per_sec:>12} {eta:>4}";

/// A bar while the connection is missing, of which its message tells.
const STALLED: &str = "{msg}; stalled at {binary_bytes}/{binary_total_bytes}";

fn style(template: &str) -> ProgressStyle {
    // A template that does not parse would be our mistake; the plain bar does as well.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

struct Stalling {
    drawn: ProgressBar,
    name: String,
}

impl Shown for Stalling {
    fn stalled(&self, text: &str) {
        self.drawn.set_style(style(STALLED));
        self.drawn.set_message(text.to_owned());
        self.drawn.tick();
    }

    fn resumed(&self) -> &ProgressBar {
        self.drawn.set_style(style(MOVES));
        self.drawn.set_message(self.name.clone());
        &self.drawn
    }
}

/// One file's bar. It goes when it is dropped.
pub(crate) struct Bar {
    drawn: ProgressBar,
}

impl Bar {
    /// A bar for a file; it is drawn from its first bytes on.
    pub(crate) fn new(name: &str) -> Self {
        let bar = ProgressBar::new(0).with_message(name.to_owned()).with_style(style(MOVES));
        Self { drawn: bar }
    }

    /// A handle that shows that the bar is stalled.
    pub(crate) fn stalling(&self, name: &str) -> Arc<dyn Shown> {
        Arc::new(Stalling { drawn: self.drawn.clone(), name: name.to_owned() })
    }

    /// A hidden bar, for one host of many.
    pub(crate) fn hidden() -> Self {
        Self { drawn: ProgressBar::hidden() }
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
