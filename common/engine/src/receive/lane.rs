//! Takes chunks of a transfer on a further connection.

use std::sync::atomic::{AtomicU64, Ordering};

use lariat_wire::limits::CHUNK;
use lariat_wire::link::{Frame, Link, LinkError, Outbox, Reader};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::transfer::{ChunkHead, Taken};
use lariat_wire::protocol::{Kind, Message};
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf};

use super::lanes::{Joined, ReceiveLanes};
use crate::chunk::encode::Decoder;
use crate::chunk::rehash::chunk_len;
use crate::chunk::sum::sum;
use crate::error::TransferError;
use crate::offload::unexpected;

/// Takes chunks of a transfer on this connection, as its lane of this number, until the transfer is over. Adds them
/// to `taken`.
///
/// A failure of this end is one of the whole transfer, and is told on its first connection.
pub async fn receive_lane<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    lanes: &ReceiveLanes,
    number: u8,
    taken: &AtomicU64,
) -> Result<(), TransferError> {
    let joined = tokio::select! {
        biased;
        joined = lanes.join(number) => joined,
        error = unexpected(link) => return Err(error),
    };
    let Some(joined) = joined else { return Ok(()) };
    let outbox = link.outbox().clone();
    let mut receiver =
        LaneReceiver { joined: &joined, decoder: Decoder::new(), buffer: Vec::new(), taken };
    tokio::select! {
        biased;
        () = joined.over() => Ok(()),
        error = link.writer.drive() => Err(error.into()),
        done = receiver.run(&mut link.reader, &outbox) => done,
    }
}

/// Takes the chunks of one lane.
struct LaneReceiver<'a> {
    joined: &'a Joined,
    decoder: Decoder,
    buffer: Vec<u8>,
    taken: &'a AtomicU64,
}

impl LaneReceiver<'_> {
    /// Takes chunks until the sender ends the lane.
    async fn run<R: AsyncRead>(
        &mut self,
        reader: &mut Reader<ReadHalf<R>>,
        outbox: &Outbox,
    ) -> Result<(), TransferError> {
        let mut chunks = 0;
        while let Some(frame) = reader.next().await? {
            match frame.kind {
                Kind::Chunk => self.chunk(reader, frame).await.inspect_err(|error| {
                    if let TransferError::Local(failure) = error {
                        self.joined.fail(failure.clone());
                    }
                })?,
                Failure::KIND => return Err(TransferError::Remote(reader.message()?)),
                other => return Err(LinkError::Unexpected(other).into()),
            }
            chunks += 1;
            self.taken.fetch_add(1, Ordering::Relaxed);
            outbox.post(&Taken { chunks })?;
        }
        Ok(())
    }

    async fn chunk<R: AsyncRead>(
        &mut self,
        reader: &mut Reader<ReadHalf<R>>,
        frame: Frame,
    ) -> Result<(), TransferError> {
        let head = ChunkHead::decode(reader.bulk_array().await?);
        let index = usize::try_from(head.index).unwrap_or(usize::MAX);
        if !self.joined.may_come(index) {
            return Err(TransferError::misbehaved("it sent a chunk that nobody asked for"));
        }
        let offer = &self.joined.offer;
        let len = chunk_len(offer.size.unwrap_or_default(), head.index);
        if self.buffer.is_empty() {
            self.buffer = vec![0; CHUNK];
        }
        let out = &mut self.buffer[..len];
        // What came before a cut is sent anew, on another connection.
        self.decoder.body(reader, head.encoding, out).await.1?;
        let bytes = &self.buffer[..len];
        if sum(offer.seed, bytes) != head.sum {
            let (path, cause) = (Some(self.joined.path.clone()), Cause::Mismatch);
            return Err(Failure { action: Action::Verify, path, cause }.into());
        }
        let body = frame.len - ChunkHead::LEN;
        Ok(self.joined.write(index, bytes, body as u64)?)
    }
}
