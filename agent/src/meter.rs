//! How far a transfer has come, for those who look at it from another thread.

use std::sync::atomic::{AtomicU64, Ordering};

use lariat_engine::Progress;
use prometheus_client::metrics::counter::Counter;

/// How far a transfer has come, in bytes.
#[derive(Debug, Default)]
pub struct Meter {
    total: AtomicU64,
    had: AtomicU64,
    moved: AtomicU64,
    /// What all transfers in this direction have moved.
    all_moved: Counter,
    /// What their receivers had already.
    all_had: Counter,
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
    /// The meter of one of the transfers that these counters count.
    pub fn counting(all_moved: Counter, all_had: Counter) -> Self {
        Self { all_moved, all_had, ..Self::default() }
    }

    /// More bytes belong to the transfer.
    pub fn listed(&self, bytes: u64) {
        add(&self.total, bytes);
    }

    /// The receiver has more bytes already.
    pub fn had(&self, bytes: u64) {
        add(&self.had, bytes);
        self.all_had.inc_by(bytes);
    }

    /// More bytes were moved.
    pub fn moved(&self, bytes: u64) {
        add(&self.moved, bytes);
        self.all_moved.inc_by(bytes);
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
        self.had(have);
    }

    fn moved(&self, bytes: u64) {
        self.moved(bytes);
    }
}

/// Relaxed: the figures are for people. Wraps after 16 EiB.
fn add(count: &AtomicU64, bytes: u64) {
    count.fetch_add(bytes, Ordering::Relaxed);
}
