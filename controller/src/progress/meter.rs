//! Counts how far the work on a host has come. The thread that works counts, another one may look.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use lariat_engine::Progress;

use super::Live;

/// How far one host has come. All counts but `parts` are bytes.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// The size of everything that has begun, as far as it is known.
    total: AtomicU64,
    /// What its receiver has.
    there: AtomicU64,
    /// What was moved, also more than once.
    moved: AtomicU64,
    /// What the receiver had kept when the newest attempt began that was not the first.
    kept: AtomicU64,
    /// The part that is in progress, and how many there are.
    part: AtomicU32,
    parts: AtomicU32,
}

/// The counts of a [`Meter`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) total: u64,
    pub(crate) there: u64,
    pub(crate) moved: u64,
    pub(crate) part: u32,
    pub(crate) parts: u32,
}

impl Meter {
    /// The counts. Each is right by itself; together they may be of slightly different moments.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            total: self.total.load(Relaxed),
            there: self.there.load(Relaxed),
            moved: self.moved.load(Relaxed),
            part: self.part.load(Relaxed),
            parts: self.parts.load(Relaxed),
        }
    }

    /// The work has several parts, such as files or the steps of a plan, and this one begins, counted from 1.
    pub(crate) fn part(&self, part: usize, parts: usize) {
        let number = |part| u32::try_from(part).unwrap_or(u32::MAX);
        self.part.store(number(part), Relaxed);
        self.parts.store(number(parts), Relaxed);
    }

    /// What was kept over a broken connection; reported once.
    pub(super) fn take_kept(&self) -> Option<u64> {
        Some(self.kept.swap(0, Relaxed)).filter(|&kept| kept > 0)
    }
}

/// The progress of a file or a directory, which is added to its host's meter.
pub(crate) struct ItemProgress<'a> {
    meter: &'a Meter,
    /// The counts before it.
    before: Counts,
    has_begun: Cell<bool>,
    /// What is drawn on the terminal.
    live: Option<&'a Live>,
}

impl<'a> ItemProgress<'a> {
    /// An item that begins now.
    pub(crate) fn new(meter: &'a Meter, live: Option<&'a Live>) -> Self {
        Self { meter, before: meter.counts(), has_begun: Cell::new(false), live }
    }

    fn is_at(&self, total: u64, there: u64) {
        self.meter.total.store(self.before.total.saturating_add(total), Relaxed);
        self.meter.there.store(self.before.there.saturating_add(there), Relaxed);
    }

    /// A tree is about to be listed, perhaps again.
    pub(crate) fn anew(&self) {
        self.is_at(0, 0);
    }

    /// Adds to the total of the tree.
    pub(crate) fn longer(&self, bytes: u64) {
        self.meter.total.fetch_add(bytes, Relaxed);
    }

    /// Adds bytes of the tree that its receiver had.
    pub(crate) fn had(&self, bytes: u64) {
        self.meter.there.fetch_add(bytes, Relaxed);
    }

    /// Writes something else to the terminal.
    pub(crate) fn aside(&self, write: impl FnOnce()) {
        match self.live {
            Some(live) => live.suspend(write),
            None => write(),
        }
    }
}

impl Progress for ItemProgress<'_> {
    fn begin(&self, size: Option<u64>, have: u64) {
        self.is_at(size.unwrap_or_default(), have);
        if self.has_begun.replace(true) {
            self.meter.kept.store(have, Relaxed);
        }
    }

    fn moved(&self, bytes: u64) {
        self.meter.there.fetch_add(bytes, Relaxed);
        self.meter.moved.fetch_add(bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_add_up_and_another_attempt_begins_where_the_receiver_is() {
        let meter = Meter::default();
        let first = ItemProgress::new(&meter, None);
        first.begin(Some(100), 10);
        first.moved(90);
        let second = ItemProgress::new(&meter, None);
        second.begin(Some(50), 0);
        second.moved(20);
        assert_eq!(meter.take_kept(), None);
        second.begin(Some(50), 15);
        second.moved(5);
        meter.part(2, 3);
        let expected = Counts { total: 150, there: 120, moved: 115, part: 2, parts: 3 };
        assert_eq!(meter.counts(), expected);
        assert_eq!((meter.take_kept(), meter.take_kept()), (Some(15), None));
    }

    #[test]
    fn a_tree_that_is_listed_again_counts_once() {
        let meter = Meter::default();
        let tree = ItemProgress::new(&meter, None);
        for _ in 0..2 {
            tree.anew();
            tree.longer(7);
            tree.had(3);
            tree.moved(1);
        }
        let Counts { total, there, moved, .. } = meter.counts();
        assert_eq!((total, there, moved), (7, 4, 2));
    }
}
