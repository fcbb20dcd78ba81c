//! How far a transfer has come, for those who look at it from another thread.

use std::sync::atomic::{AtomicU64, Ordering};

use lariat_engine::{Again, Progress};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// How far a transfer has come, in bytes.
#[derive(Debug, Default)]
pub struct Meter {
    total: AtomicU64,
    had: AtomicU64,
    moved: AtomicU64,
    all: TransferCounters,
}

/// What all transfers in one direction add up to.
#[derive(Clone, Debug, Default)]
pub struct TransferCounters {
    /// Bytes that were moved.
    pub moved: Counter,
    /// Bytes that the receivers had already.
    pub had: Counter,
    /// Chunks that were sent once more, in either direction.
    pub again: Family<AgainLabel, Counter>,
}

/// Why a chunk was sent once more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AgainLabel {
    cause: &'static str,
}

impl AgainLabel {
    /// What arrived was not what had been sent.
    const SUM: Self = Self { cause: "sum" };

    /// All of them.
    pub fn all() -> [Self; 4] {
        [Self::of(Again::Cut), Self::of(Again::Differs), Self::of(Again::Lane), Self::SUM]
    }

    fn of(why: Again) -> Self {
        let cause = match why {
            Again::Cut => "cut",
            Again::Differs => "differs",
            Again::Lane => "lane",
        };
        Self { cause }
    }
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
    pub fn counting(all: TransferCounters) -> Self {
        Self { all, ..Self::default() }
    }

    /// More bytes belong to the transfer.
    pub fn listed(&self, bytes: u64) {
        add(&self.total, bytes);
    }

    /// The receiver has more bytes already.
    pub fn had(&self, bytes: u64) {
        add(&self.had, bytes);
        self.all.had.inc_by(bytes);
    }

    /// More bytes were moved.
    pub fn moved(&self, bytes: u64) {
        add(&self.moved, bytes);
        self.all.moved.inc_by(bytes);
    }

    /// So many chunks were sent once more.
    pub fn again(&self, why: Again, chunks: u64) {
        self.all.again.get_or_create(&AgainLabel::of(why)).inc_by(chunks);
    }

    /// The transfer, or one of its files, failed. If what arrived was not what had been sent, it will be sent again.
    pub fn failed(&self, failure: &Failure) {
        if (failure.action, &failure.cause) == (Action::Verify, &Cause::Mismatch) {
            self.all.again.get_or_create(&AgainLabel::SUM).inc();
        }
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

    fn again(&self, why: Again, chunks: u64) {
        self.again(why, chunks);
    }
}

/// Relaxed: the figures are for people. Wraps after 16 EiB.
fn add(count: &AtomicU64, bytes: u64) {
    count.fetch_add(bytes, Ordering::Relaxed);
}
