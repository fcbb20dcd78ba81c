//! A progress bar on the terminal while a file is transferred; hidden if stderr is not a terminal.

use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use lariat_engine::Progress;

use crate::outages::Shown;

/// The bar's template.
const MOVES: &str = "{msg:24!} {wide_bar} {binary_bytes:>10}/{binary_total_bytes} {binary_bytes_per_sec:>12} {eta:>4}";

/// The bar's template during an outage, which its message describes.
const STALLED: &str = "{msg}; stalled at {binary_bytes}/{binary_total_bytes}";

fn style(template: &str) -> ProgressStyle {
    // The template is a constant; the default bar would do as well.
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

/// One file's bar. Dropping it removes it.
pub(crate) struct Bar {
    drawn: ProgressBar,
}

impl Bar {
    /// A bar for a file; it is drawn with its first bytes.
    pub(crate) fn new(name: &str) -> Self {
        let bar = ProgressBar::new(0).with_message(name.to_owned()).with_style(style(MOVES));
        Self { drawn: bar }
    }

    /// A handle that shows an outage in the bar.
    pub(crate) fn stalling(&self, name: &str) -> Arc<dyn Shown> {
        Arc::new(Stalling { drawn: self.drawn.clone(), name: name.to_owned() })
    }

    /// A hidden bar, for one of many hosts.
    pub(crate) fn hidden() -> Self {
        Self { drawn: ProgressBar::hidden() }
    }
}

impl Bar {
    /// Resets the bar, because a tree is about to be listed, perhaps again.
    pub(crate) fn anew(&self) {
        self.drawn.set_length(0);
        self.drawn.set_position(0);
    }

    /// Adds to the total of the tree.
    pub(crate) fn longer(&self, bytes: u64) {
        self.drawn.inc_length(bytes);
    }

    /// Adds to the tree's transferred bytes.
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
        // The rate must not include bytes that were there before.
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
