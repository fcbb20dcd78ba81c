//! The lanes of one attempt, as the receiver on its first connection sees them.

use super::lanes::ReceiveFile;
use crate::lanes::Lanes;
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
