//! A bar on the terminal while a file moves; nothing at all when stderr is not one.

use indicatif::{ProgressBar, ProgressStyle};
use lariat_common::transfer::Progress;

/// One file's bar. It goes when it is dropped.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar for a file; it is drawn from its first bytes on.
    pub(crate) fn new(name: &str) -> Self {
        let style = ProgressStyle::with_template(
            "{msg:24!} {wide_bar} {binary_bytes:>10}/{binary_total_bytes} {binary_bytes_per_sec:>12} {eta:>4}",
        );
        let bar = ProgressBar::new(0).with_message(name.to_owned());
        // A template that does not parse would be our mistake; the plain bar does as well.
        Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }
}

impl Progress for Bar {
    fn begin(&self, size: Option<u64>, have: u64) {
        match size {
            Some(size) => self.0.set_length(size),
            None => self.0.unset_length(),
        }
        self.0.set_position(have);
        // The rate is of what moves, not of what was there.
        self.0.reset_eta();
    }

    fn moved(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
