//! Handles arriving contents of a tree, on whichever connection they arrive.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use lariat_base::lock::lock;
use lariat_wire::protocol::failure::Cause;

use super::decided::Wanted;
use super::replacements::Replacements;
use super::shared::Shared;
use super::workers::Jobs;
use crate::cancel::Cancel;
use crate::wakeup::Wakeup;

/// The state that all connections of a receiver share.
pub(super) struct Arrivals {
    pub(super) shared: Arc<Shared>,
    pub(super) replacements: Arc<Replacements>,
    pub(super) jobs: Jobs,
    /// Of the sums of packs.
    pub(super) seed: u64,
    files: Mutex<Files>,
    /// Announces a file that is no longer claimed.
    released: Wakeup,
}

#[derive(Default)]
struct Files {
    /// Wanted files that have not arrived, by number.
    wanted: HashMap<u64, Wanted>,
    /// Wanted files that lanes are receiving.
    claimed: HashMap<u64, Cancel>,
    /// The weight of entries that are not settled.
    weight: usize,
    /// A lane has joined: contents that it received may be sent again.
    has_lanes: bool,
}

/// A wanted file that a lane receives. Dropping it makes the file wanted again, unless it has arrived.
pub(super) struct Claim<'a> {
    arrivals: &'a Arrivals,
    number: u64,
    wanted: Option<Wanted>,
}

impl Arrivals {
    pub(super) fn new(
        shared: Arc<Shared>,
        replacements: Arc<Replacements>,
        jobs: Jobs,
        seed: u64,
    ) -> Self {
        let (files, released) = (Mutex::default(), Wakeup::default());
        Self { shared, replacements, jobs, seed, files, released }
    }

    /// Adds wanted files, and subtracts the weight of settled entries.
    pub(super) fn want(&self, wanted: Vec<(u64, Wanted)>, settled: usize) {
        let mut files = lock(&self.files);
        files.wanted.extend(wanted);
        files.weight -= settled;
    }

    /// Adds the weight of new entries. Returns that of all unsettled entries.
    pub(super) fn add_weight(&self, weight: usize) -> usize {
        let mut files = lock(&self.files);
        files.weight += weight;
        files.weight
    }

    /// Whether every wanted file has arrived.
    pub(super) fn is_complete(&self) -> bool {
        lock(&self.files).wanted.is_empty()
    }

    /// From now on received contents may be sent again.
    pub(super) fn has_lane(&self) {
        lock(&self.files).has_lanes = true;
    }

    /// Whether the sender may send an unwanted file: a lane has received it, but the acknowledgement was lost.
    pub(super) fn may_repeat(&self) -> bool {
        lock(&self.files).has_lanes
    }

    /// Settles a wanted file that arrives, or that never will.
    pub(super) fn take(&self, number: u64) -> Option<Wanted> {
        lock(&self.files).take(number)
    }

    /// Takes a wanted file that is sent by itself. A lane that is receiving it is lost: its connection has
    /// broken, which this end has not noticed.
    pub(super) async fn take_over(&self, number: u64) -> Option<Wanted> {
        self.wait_for(number, None).await
    }

    /// Like [`Self::take_over`], for a lane that ends when `cancel` is cancelled.
    pub(super) async fn claim(&self, number: u64, cancel: &Cancel) -> Option<(Claim<'_>, Wanted)> {
        let wanted = self.wait_for(number, Some(cancel)).await?;
        Some((Claim { arrivals: self, number, wanted: Some(wanted.clone()) }, wanted))
    }

    async fn wait_for(&self, number: u64, claim: Option<&Cancel>) -> Option<Wanted> {
        let mut released = self.released.changes();
        loop {
            {
                let mut files = lock(&self.files);
                if let Some(wanted) = files.take(number) {
                    files.claimed.extend(claim.map(|cancel| (number, cancel.clone())));
                    return Some(wanted);
                }
                files.claimed.get(&number)?.cancel(Cause::Superseded);
            }
            released.next().await;
        }
    }
}

impl Files {
    fn take(&mut self, number: u64) -> Option<Wanted> {
        let wanted = self.wanted.remove(&number)?;
        self.weight -= wanted.weight;
        Some(wanted)
    }
}

impl Claim<'_> {
    /// The file has arrived, or never will.
    pub(super) fn settle(mut self) {
        self.wanted = None;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut files = lock(&self.arrivals.files);
        files.claimed.remove(&self.number);
        if let Some(wanted) = self.wanted.take() {
            files.weight += wanted.weight;
            files.wanted.insert(self.number, wanted);
        }
        drop(files);
        self.arrivals.released.changed();
    }
}
