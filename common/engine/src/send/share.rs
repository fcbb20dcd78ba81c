//! Shares the chunks of a file with the transfer's lanes.

use lariat_wire::protocol::transfer::Range;
use tokio::io::{AsyncRead, AsyncWrite};

use super::lanes::SendLanes;
use super::queue::Next;
use super::sender::Sender;
use crate::error::TransferError;

impl<S: AsyncRead + AsyncWrite> Sender<'_, S> {
    /// Sends these chunks together with the lanes, until none is left that no connection has taken.
    pub(super) async fn share(
        &mut self,
        missing: Vec<Range>,
        lanes: &SendLanes,
    ) -> Result<(), TransferError> {
        lanes.open(missing, self.source.another(), self.how, self.pace.clone());
        self.left(lanes).await
    }

    /// Waits until the receiver has acknowledged what the lanes have sent. Sends what a lost lane gives back.
    pub(super) async fn settle(&mut self, lanes: &SendLanes) -> Result<(), TransferError> {
        let mut changes = lanes.changes();
        loop {
            self.left(lanes).await?;
            if lanes.is_settled() {
                return self.count(lanes);
            }
            tokio::select! {
                biased;
                () = changes.next() => self.count(lanes)?,
                error = self.writer.drive() => return Err(error.into()),
            }
        }
    }

    async fn left(&mut self, lanes: &SendLanes) -> Result<(), TransferError> {
        while let Some(Next { index, before }) = lanes.next() {
            self.chunk_like(index, before).await?;
            self.count(lanes)?;
        }
        Ok(())
    }

    fn count(&mut self, lanes: &SendLanes) -> Result<(), TransferError> {
        lanes.progress()?.into_iter().for_each(|chunk| self.lane_moved(chunk));
        Ok(())
    }
}
