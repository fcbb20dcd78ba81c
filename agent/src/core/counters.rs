//! What the events add up to since the agent's start.

use std::sync::atomic::{AtomicU64, Ordering};

use lariat_wire::protocol::failure::{Cause, Failure, Limit};

/// What the events add up to.
#[derive(Default)]
pub struct Counters {
    /// How often a limit kept somebody from something, by limit.
    limits: [AtomicU64; 4],
}

impl Counters {
    /// How often this limit kept somebody from something.
    pub fn refusals(&self, limit: Limit) -> u64 {
        self.limits[limit as usize].load(Ordering::Relaxed)
    }

    /// A limit kept somebody from something.
    pub fn limit_reached(&self, limit: Limit) {
        self.limits[limit as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Something failed, perhaps for a limit.
    pub(super) fn failed(&self, failure: &Failure) {
        if let Cause::AtLimit(limit) = failure.cause {
            self.limit_reached(limit);
        }
    }
}
