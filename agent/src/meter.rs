//! How far a transfer has come, for those who look at it from another thread.

use std::sync::atomic::{AtomicU64, Ordering};

use lariat_engine::Progress;

/// How far a transfer has come, in bytes.
#[derive(Debug, Default)]
pub struct Meter {
    total: AtomicU64,
    had: AtomicU64,
    moved: AtomicU64,
}

/// A [`Meter`]'s figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metered {
    /// Bytes of its files, as far as they are known.
    pub total: u64,
    /// Bytes that the receiver had already.
    pub had: u64,
    /// Bytes that were moved.
    pub moved: u64,
}

impl Meter {
    /// More bytes belong to the transfer.
    pub fn listed(&self, bytes: u64) {
        add(&self.total, bytes);
    }

    /// The receiver has more bytes already.
    pub fn had(&self, bytes: u64) {
        add(&self.had, bytes);
    }

    /// More bytes were moved.
    pub fn moved(&self, bytes: u64) {
        add(&self.moved, bytes);
    }

    /// The figures.
    pub fn read(&self) -> Metered {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Metered { total: load(&self.total), had: load(&self.had), moved: load(&self.moved) }
    }
}

impl Progress for Meter {
    fn begin(&self, size: Option<u64>, have: u64) {
        self.total.store(size.unwrap_or_default(), Ordering::Relaxed);
        self.had.store(have, Ordering::Relaxed);
    }

    fn moved(&self, bytes: u64) {
        self.moved(bytes);
    }
}

/// Relaxed: the figures are for people. Wraps after 16 EiB.
fn add(count: &AtomicU64, bytes: u64) {
    count.fetch_add(bytes, Ordering::Relaxed);
}
