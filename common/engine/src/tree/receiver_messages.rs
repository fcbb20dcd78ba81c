//! Handles what the receiver says while the sender sends.

use std::pin::pin;

use tokio::io::{AsyncRead, AsyncWrite, ReadHalf};

use super::unsettled::Unsettled;
use super::watch::{Counts, Side, Watch};
use crate::error::TransferError;
use lariat_wire::link::{Link, LinkError, Reader};
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::tree::{Answers, Changes, Missed};
use lariat_wire::protocol::{Kind, Message};

/// The state that the receiver's messages change.
pub(super) struct ReceiverMessages<'a> {
    pub(super) watch: &'a dyn Watch,
    pub(super) counts: &'a mut Counts,
    pub(super) unsettled: Unsettled,
    /// Whether all of the source could be read.
    pub(super) whole: bool,
}

impl ReceiverMessages<'_> {
    /// Runs a future that writes, and handles the receiver's messages meanwhile.
    pub(super) async fn during<R: AsyncRead, T>(
        &mut self,
        reader: &mut Reader<ReadHalf<R>>,
        write: impl Future<Output = T>,
    ) -> Result<T, TransferError> {
        let mut write = pin!(write);
        loop {
            tokio::select! {
                biased;
                done = &mut write => return Ok(done),
                frame = reader.next() => {
                    let kind = frame?.ok_or(LinkError::Cut)?.kind;
                    self.handle(kind, reader)?;
                }
            }
        }
    }

    /// Handles one message.
    pub(super) fn handle<R: AsyncRead>(
        &mut self,
        kind: Kind,
        reader: &Reader<ReadHalf<R>>,
    ) -> Result<(), TransferError> {
        match kind {
            Answers::KIND => {
                let answers: Answers = reader.message()?;
                let had = self.unsettled.answered(&answers).map_err(TransferError::misbehaved)?;
                self.watch.had(had);
                Ok(())
            }
            Missed::KIND => {
                self.watch.missed(&reader.message::<Missed>()?.failure, Side::There);
                Ok(())
            }
            Changes::KIND => {
                let Changes { changes } = reader.message()?;
                changes.iter().for_each(|change| self.watch.changed(change));
                Ok(())
            }
            Failure::KIND => Err(TransferError::Remote(reader.message()?)),
            other => Err(LinkError::Unexpected(other).into()),
        }
    }

    /// Handles a Missed, and returns whether it refuses the file that was begun.
    pub(super) fn refused<R: AsyncRead>(
        &mut self,
        reader: &Reader<ReadHalf<R>>,
        begun: u64,
    ) -> Result<bool, TransferError> {
        let Missed { number, failure } = reader.message()?;
        self.watch.missed(&failure, Side::There);
        Ok(number == Some(begun))
    }

    /// Reports to the receiver and the observer what can't be sent.
    pub(super) fn missed<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &Link<S>,
        number: Option<u64>,
        failure: Failure,
    ) -> Result<(), LinkError> {
        self.whole = false;
        self.watch.missed(&failure, Side::Here);
        link.outbox().post(&Missed { number, failure })
    }
}
