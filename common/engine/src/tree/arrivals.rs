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
use crate::lanes::{Joined, Lanes};
use crate::receive::ReceiveFile;
use crate::wakeup::Wakeup;

/// The state that all connections of a receiver share.
pub(super) struct Arrivals {
    pub(super) shared: Arc<Shared>,
    pub(super) replacements: Arc<Replacements>,
    pub(super) jobs: Jobs,
    /// Of the sums of packs.
    pub(super) seed: u64,
    /// The lanes as those of a file whose chunks they share.
    pub(super) file_lanes: Lanes<ReceiveFile>,
    files: Mutex<Files>,
    /// Announces that a file is not claimed any more, or is shared, or is over.
    changed: Wakeup,
}

#[derive(Default)]
struct Files {
    /// Wanted files that have not arrived, by number.
    wanted: HashMap<u64, Wanted>,
    /// Wanted files that lanes are receiving.
    claimed: HashMap<u64, Cancel>,
    /// The weight of entries that are not settled.
    weight: usize,
    /// The number of the file whose chunks all connections share.
    shared: Option<u64>,
    /// The number of the last file that is not shared any more.
    over: u64,
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
        file_lanes: Lanes<ReceiveFile>,
    ) -> Self {
        let (files, changed) = (Mutex::default(), Wakeup::default());
        Self { shared, replacements, jobs, seed, file_lanes, files, changed }
    }

    /// Lanes may bring chunks of the file with this number, which is open.
    pub(super) fn share(&self, number: u64) {
        lock(&self.files).shared = Some(number);
        self.changed.changed();
    }

    /// Lanes may bring no more chunks of the file with this number. What comes is dropped.
    pub(super) fn shares_no_more(&self, number: u64) {
        {
            let mut files = lock(&self.files);
            (files.shared, files.over) = (None, files.over.max(number));
        }
        self.changed.changed();
    }

    /// Joins the file with this number as a lane, once it is shared. `None` if it is over.
    pub(super) async fn join(&self, number: u64, lane: u8) -> Option<Joined<ReceiveFile>> {
        let mut changes = self.changed.changes();
        let is_shared = || lock(&self.files).shared == Some(number);
        while !is_shared() {
            if lock(&self.files).over >= number {
                return None;
            }
            changes.next().await;
        }
        // Meanwhile the next one may be shared.
        self.file_lanes.join(lane).await.filter(|_| is_shared())
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
        let mut changes = self.changed.changes();
        loop {
            {
                let mut files = lock(&self.files);
                if let Some(wanted) = files.take(number) {
                    files.claimed.extend(claim.map(|cancel| (number, cancel.clone())));
                    return Some(wanted);
                }
                files.claimed.get(&number)?.cancel(Cause::Superseded);
            }
            changes.next().await;
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
        self.arrivals.changed.changed();
    }
}
