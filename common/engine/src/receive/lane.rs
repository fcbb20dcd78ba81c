//! Takes chunks of a file on a further connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lariat_wire::limits::CHUNK;
use lariat_wire::link::{Frame, Link, LinkError, Outbox, Reader};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::transfer::{ChunkHead, Offer, Taken};
use lariat_wire::protocol::{Kind, Message};
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf};

use super::lanes::ReceiveFile;
use crate::chunk::encode::Decoder;
use crate::chunk::rehash::chunk_len;
use crate::chunk::sum::sum;
use crate::error::TransferError;
use crate::lanes::Joined;
use crate::page_buffer::PageBuffer;

/// Takes chunks until the transfer is over or the sender ends the lane. Adds them to `taken`.
pub(crate) async fn receive_lane<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    joined: Joined<ReceiveFile>,
    taken: &AtomicU64,
) -> Result<(), TransferError> {
    let Some(mut chunks) = LaneChunks::new(joined) else { return Ok(()) };
    let (outbox, joined) = (link.outbox().clone(), Arc::clone(&chunks.joined));
    tokio::select! {
        biased;
        () = joined.over() => Ok(()),
        error = link.writer.drive() => Err(error.into()),
        done = run(&mut chunks, &mut link.reader, &outbox, taken) => done,
    }
}

async fn run<R: AsyncRead>(
    chunks: &mut LaneChunks,
    reader: &mut Reader<ReadHalf<R>>,
    outbox: &Outbox,
    taken: &AtomicU64,
) -> Result<(), TransferError> {
    let (mut count, mut last) = (0, false);
    loop {
        let frame = tokio::select! {
            biased;
            () = chunks.joined.retired(), if !last => {
                last = true;
                outbox.post(&Taken { count, last })?;
                continue;
            }
            frame = reader.next() => frame?,
        };
        let Some(frame) = frame else { return Ok(()) };
        match frame.kind {
            Kind::Chunk => chunks.take(reader, frame).await?,
            Failure::KIND => return Err(TransferError::Remote(reader.message()?)),
            other => return Err(LinkError::Unexpected(other).into()),
        }
        count += 1;
        taken.fetch_add(1, Ordering::Relaxed);
        outbox.post(&Taken { count, last })?;
    }
}

/// Takes the chunks of one lane.
pub(crate) struct LaneChunks {
    joined: Arc<Joined<ReceiveFile>>,
    offer: Offer,
    /// The destination's path, for failures.
    path: Vec<u8>,
    decoder: Decoder,
    buffer: PageBuffer,
}

impl LaneChunks {
    /// `None` if the attempt is over already.
    pub(crate) fn new(joined: Joined<ReceiveFile>) -> Option<Self> {
        let (offer, path) = joined.with(|file, _| (file.offer.clone(), file.path.clone()))?;
        let joined = Arc::new(joined);
        Some(Self { joined, offer, path, decoder: Decoder::new(), buffer: PageBuffer::default() })
    }

    /// Takes a chunk. A failure of this end is that of the file.
    pub(crate) async fn take<R: AsyncRead>(
        &mut self,
        reader: &mut Reader<ReadHalf<R>>,
        frame: Frame,
    ) -> Result<(), TransferError> {
        let taken = self.chunk(reader, frame).await;
        if let Err(TransferError::Local(failure)) = &taken {
            self.joined.with(|file, _| file.fail(failure.clone()));
            self.joined.announce();
        }
        taken
    }

    async fn chunk<R: AsyncRead>(
        &mut self,
        reader: &mut Reader<ReadHalf<R>>,
        frame: Frame,
    ) -> Result<(), TransferError> {
        let head = ChunkHead::decode(reader.bulk_array().await?);
        let index = usize::try_from(head.index).unwrap_or(usize::MAX);
        if !self.joined.may_come(index) {
            return Err(TransferError::misbehaved("it sent a chunk that was not requested"));
        }
        let len = chunk_len(self.offer.size.unwrap_or_default(), head.index);
        if self.buffer.is_empty() {
            self.buffer = PageBuffer::new(CHUNK);
        }
        let out = &mut self.buffer[..len];
        // A chunk that was cut off is sent again, on another connection.
        self.decoder.body(reader, head.encoding, out).await.1?;
        let bytes = &self.buffer[..len];
        if sum(self.offer.seed, bytes) != head.sum {
            let (path, cause) = (Some(self.path.clone()), Cause::Mismatch);
            return Err(Failure { action: Action::Verify, path, cause }.into());
        }
        let body = frame.len - ChunkHead::LEN;
        Ok(self.joined.write(index, bytes, body as u64, self.offer.sparse)?)
    }
}
