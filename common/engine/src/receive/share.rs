//! Shares the chunks that are missing with the transfer's lanes.

use std::sync::Arc;

use super::lanes::{LaneChunk, ReceiveFile};
use super::open_lanes::OpenLanes;
use super::receiver::{Chunk, Receiver};
use super::target::Target;
use crate::chunk::reconcile::missing;
use crate::lanes::Lanes;
use lariat_wire::protocol::failure::Failure;

impl Receiver<'_> {
    /// Allows lanes to receive a part of the file. What is rebuilt from a basis, and what must arrive in order,
    /// can't use lanes.
    pub(crate) fn share(&mut self, lanes: Lanes<ReceiveFile>) {
        let Target::File(opened) = &self.target else { return };
        if self.rebuild.is_some() || self.offer.size.is_none() {
            return;
        }
        let missing = missing(&self.target.have().compared(), self.offer.chunks());
        let body = Arc::clone(opened.file.body());
        lanes.open(ReceiveFile::new(body, self.target.path(), self.offer.clone(), missing));
        self.arrived.lanes = Some(OpenLanes::new(lanes));
    }

    /// Counts what lanes have received. The failure of one fails the transfer.
    pub(super) fn count_lanes(&mut self) -> Result<(), Failure> {
        if let Some(open) = &self.arrived.lanes {
            let brought = open.lanes().progress()?;
            self.lane_moved(brought);
        }
        Ok(())
    }

    /// Ends the lanes, once nothing is being written any more, and takes over what they have received.
    pub(crate) async fn finish_lanes(&mut self) -> Result<(), Failure> {
        let Some(open) = self.arrived.lanes.take() else { return Ok(()) };
        let (chunks, rest) = open.lanes().brought().await;
        for (place, brought) in self.chunks.iter_mut().zip(chunks) {
            if brought == LaneChunk::Taken {
                *place = Chunk::Sent;
            }
        }
        self.lane_moved(rest?);
        Ok(())
    }
}
