//! The lanes of one attempt, as the receiver on its first connection sees them.

use super::lanes::ReceiveLanes;
use crate::wakeup::Changes;

/// The lanes of an attempt. They end when this is dropped.
pub(super) struct OpenLanes {
    lanes: ReceiveLanes,
    changes: Changes,
}

impl OpenLanes {
    /// Of an attempt that has been opened.
    pub(super) fn new(lanes: ReceiveLanes) -> Self {
        let changes = lanes.changes();
        Self { lanes, changes }
    }

    pub(super) fn lanes(&self) -> &ReceiveLanes {
        &self.lanes
    }

    /// Waits for a change that a lane has made. Cancel-safe.
    pub(super) async fn changed(open: Option<&mut Self>) {
        match open {
            Some(open) => open.changes.next().await,
            None => std::future::pending().await,
        }
    }

    /// Whether a lane has brought this chunk.
    pub(super) fn has(&self, index: usize) -> bool {
        self.lanes.has(index)
    }
}

impl Drop for OpenLanes {
    fn drop(&mut self) {
        self.lanes.close();
    }
}
