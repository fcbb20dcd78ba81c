//! Shares the chunks of a file with the transfer's lanes.

use lariat_wire::protocol::transfer::Range;
use tokio::io::{AsyncRead, AsyncWrite};

use super::lanes::SendFile;
use super::queue::Next;
use super::sender::Sender;
use crate::error::TransferError;
use crate::lanes::Lanes;

impl<S: AsyncRead + AsyncWrite> Sender<'_, S> {
    /// Sends these chunks together with the lanes, until none is left that no connection has taken.
    pub(super) async fn share(
        &mut self,
        missing: Vec<Range>,
        lanes: &Lanes<SendFile>,
    ) -> Result<(), TransferError> {
        self.shared = Some(lanes.clone());
        lanes.open(SendFile::new(missing, self.source.another(), self.how, self.pace.clone()));
        self.left(lanes).await
    }

    /// Waits until the receiver has acknowledged what the lanes have sent. Sends what a lost lane gives back.
    pub(super) async fn settle(&mut self, lanes: &Lanes<SendFile>) -> Result<(), TransferError> {
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

    async fn left(&mut self, lanes: &Lanes<SendFile>) -> Result<(), TransferError> {
        while let Some(Next { index, before }) = lanes.next() {
            self.chunk_like(index, before).await?;
            self.count(lanes)?;
        }
        Ok(())
    }

    fn count(&mut self, lanes: &Lanes<SendFile>) -> Result<(), TransferError> {
        let progress = lanes.progress()?;
        self.lanes_sent(progress);
        Ok(())
    }
}
