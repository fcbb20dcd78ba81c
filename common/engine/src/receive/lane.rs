//! Takes chunks of a file on a further connection.

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

/// Takes chunks until the transfer is over or the sender ends the lane. Adds them to `taken`.
pub(crate) async fn receive_lane<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    joined: &Joined<ReceiveFile>,
    taken: &AtomicU64,
) -> Result<(), TransferError> {
    let Some((offer, path)) = joined.with(|file, _| (file.offer.clone(), file.path.clone())) else {
        return Ok(());
    };
    let outbox = link.outbox().clone();
    let (decoder, buffer) = (Decoder::new(), Vec::new());
    let mut receiver = LaneReceiver { joined, offer, path, decoder, buffer, taken };
    tokio::select! {
        biased;
        () = joined.over() => Ok(()),
        error = link.writer.drive() => Err(error.into()),
        done = receiver.run(&mut link.reader, &outbox) => done,
    }
}

/// Takes the chunks of one lane.
struct LaneReceiver<'a> {
    joined: &'a Joined<ReceiveFile>,
    offer: Offer,
    /// The destination's path, for failures.
    path: Vec<u8>,
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
        let (mut count, mut last) = (0, false);
        loop {
            let frame = tokio::select! {
                biased;
                () = self.joined.retired(), if !last => {
                    last = true;
                    outbox.post(&Taken { count, last })?;
                    continue;
                }
                frame = reader.next() => frame?,
            };
            let Some(frame) = frame else { return Ok(()) };
            match frame.kind {
                Kind::Chunk => self.chunk(reader, frame).await.inspect_err(|error| {
                    if let TransferError::Local(failure) = error {
                        self.joined.with(|file, _| file.fail(failure.clone()));
                        self.joined.announce();
                    }
                })?,
                Failure::KIND => return Err(TransferError::Remote(reader.message()?)),
                other => return Err(LinkError::Unexpected(other).into()),
            }
            count += 1;
            self.taken.fetch_add(1, Ordering::Relaxed);
            outbox.post(&Taken { count, last })?;
        }
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
            self.buffer = vec![0; CHUNK];
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
