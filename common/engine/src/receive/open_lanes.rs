//! The lanes of one attempt, as the receiver on its first connection sees them.

use super::lanes::{LaneProgress, ReceiveFile};
use crate::lanes::Lanes;
use crate::transferred::Transferred;
use crate::wakeup::Changes;

/// The lanes of an attempt. They end when this is dropped.
pub(super) struct OpenLanes {
    lanes: Lanes<ReceiveFile>,
    changes: Changes,
}

impl OpenLanes {
    /// The lanes of an attempt that was opened.
    pub(super) fn new(lanes: Lanes<ReceiveFile>) -> Self {
        let changes = lanes.changes();
        Self { lanes, changes }
    }

    pub(super) fn lanes(&self) -> &Lanes<ReceiveFile> {
        &self.lanes
    }

    /// Waits for a change by a lane. Cancel-safe.
    pub(super) async fn changed(open: Option<&mut Self>) {
        match open {
            Some(open) => open.changes.next().await,
            None => std::future::pending().await,
        }
    }

    /// Whether a lane has received this chunk.
    pub(super) fn has(&self, index: usize) -> bool {
        self.lanes.has(index)
    }
}

impl Drop for OpenLanes {
    fn drop(&mut self) {
        self.lanes.close();
    }
}

/// What has arrived, that of lanes included even when the receiver is dropped in its middle.
pub(super) struct Arrived<'a> {
    pub(super) received: &'a mut Transferred,
    pub(super) lanes: Option<OpenLanes>,
}

impl Arrived<'_> {
    /// Adds what lanes have brought.
    pub(super) fn add(&mut self, LaneProgress { moved, sent, .. }: LaneProgress) {
        self.received.moved += moved;
        self.received.sent += sent;
    }
}

impl Drop for Arrived<'_> {
    fn drop(&mut self) {
        // A failure of a lane is of no interest any more.
        if let Some(Ok(progress)) = self.lanes.take().map(|open| open.lanes().progress()) {
            self.add(progress);
        }
    }
}
