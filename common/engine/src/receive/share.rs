//! Shares the chunks that are missing with the transfer's lanes.

use std::sync::Arc;

use super::lanes::{LaneChunk, LaneProgress, ReceiveLanes};
use super::open_lanes::OpenLanes;
use super::receiver::{Chunk, Receiver};
use super::target::Target;
use crate::chunk::reconcile::missing;
use lariat_wire::protocol::failure::Failure;

impl Receiver<'_> {
    /// Lets lanes bring a part of the file. What is rebuilt from a basis, and what comes in order, can't come on
    /// lanes.
    pub(super) fn share(&mut self, lanes: ReceiveLanes) {
        let Target::File(opened) = &self.target else { return };
        if self.rebuild.is_some() || self.offer.size.is_none() {
            return;
        }
        let missing = missing(&self.target.have().compared(), self.offer.chunks());
        let body = Arc::clone(opened.file.body());
        lanes.open(body, self.target.path(), self.offer.clone(), missing);
        self.lanes = Some(OpenLanes::new(lanes));
    }

    /// Counts what lanes have brought. A failure of one is the transfer's.
    pub(super) fn count_lanes(&mut self) -> Result<(), Failure> {
        if let Some(open) = &self.lanes {
            let LaneProgress { moved, sent } = open.lanes().progress()?;
            self.lane_moved(moved, sent);
        }
        Ok(())
    }

    /// Ends the lanes, once nothing is being written any more, and takes over what they have brought.
    pub(super) async fn finish_lanes(&mut self) -> Result<(), Failure> {
        let Some(open) = self.lanes.take() else { return Ok(()) };
        let (chunks, rest) = open.lanes().finish().await;
        for (place, brought) in self.chunks.iter_mut().zip(chunks) {
            if brought == LaneChunk::Taken {
                *place = Chunk::Sent;
            }
        }
        let LaneProgress { moved, sent } = rest?;
        self.lane_moved(moved, sent);
        Ok(())
    }
}
