//! Sends chunks of a transfer on a further connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use lariat_wire::link::{Link, LinkError, Reader, Writer};
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::transfer::{ChunkHead, Taken};
use lariat_wire::protocol::{Kind, Message};
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};

use super::lanes::{Joined, SendLanes, Share};
use super::queue::{Next, SentChunk};
use crate::chunk::encode::Encoder;
use crate::error::TransferError;
use crate::offload::unexpected;
use crate::source::SummedChunk;
use crate::wakeup::Changes;

/// Sends chunks of a transfer on this connection, as its lane of this number, until the transfer is over. Adds to
/// `taken` the chunks that the receiver acknowledges.
///
/// A failure of this end is one of the whole transfer, and is told on its first connection.
pub async fn send_lane<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    lanes: &SendLanes,
    number: u8,
    taken: &AtomicU64,
) -> Result<(), TransferError> {
    let joined = tokio::select! {
        biased;
        joined = lanes.join(number) => joined,
        error = unexpected(link) => return Err(error),
    };
    let Some((joined, share)) = joined else { return Ok(()) };
    let mut sender = LaneSender::new(&joined, share)?;
    tokio::select! {
        biased;
        done = listen(&mut link.reader, &joined, taken) => done,
        () = joined.over() => Ok(()),
        error = sender.run(&mut link.writer) => Err(error),
    }
}

/// Reads the receiver's acknowledgements, until it ends the lane.
async fn listen<R: AsyncRead>(
    reader: &mut Reader<ReadHalf<R>>,
    joined: &Joined,
    taken: &AtomicU64,
) -> Result<(), TransferError> {
    let mut acknowledged = 0;
    while let Some(frame) = reader.next().await? {
        let Taken { chunks } = match frame.kind {
            Taken::KIND => reader.message()?,
            Failure::KIND => return Err(TransferError::Remote(reader.message()?)),
            other => return Err(LinkError::Unexpected(other).into()),
        };
        let more = chunks.checked_sub(acknowledged);
        let Some(more) = more.filter(|&more| joined.acknowledge(more).is_ok()) else {
            let why = "it has taken chunks that were not sent";
            return Err(TransferError::misbehaved(why));
        };
        acknowledged = chunks;
        taken.fetch_add(more, Ordering::Relaxed);
    }
    Ok(())
}

/// Sends the chunks of one lane.
struct LaneSender<'a> {
    joined: &'a Joined,
    share: Share,
    encoder: Encoder,
    buffer: Vec<u8>,
    changes: Changes,
}

impl<'a> LaneSender<'a> {
    fn new(joined: &'a Joined, share: Share) -> Result<Self, Failure> {
        let encoder = Encoder::new(share.sending.compress);
        let encoder = encoder.map_err(|error| share.source.read_error(&error))?;
        let (buffer, changes) = (Vec::new(), joined.changes());
        Ok(Self { joined, share, encoder, buffer, changes })
    }

    /// Sends chunks, and what is posted, until something fails.
    async fn run<W: AsyncWrite>(&mut self, writer: &mut Writer<WriteHalf<W>>) -> TransferError {
        loop {
            let sent = if let Some(next) = self.joined.next() {
                self.chunk(writer, next).await
            } else {
                // Chunks of a lane that is lost come back.
                tokio::select! {
                    () = self.changes.next() => Ok(()),
                    error = writer.drive() => Err(error.into()),
                }
            };
            match sent {
                Ok(()) => {}
                Err(TransferError::Local(failure)) => {
                    self.joined.fail(failure.clone());
                    return failure.into();
                }
                Err(error) => return error,
            }
        }
    }

    async fn chunk<W: AsyncWrite>(
        &mut self,
        writer: &mut Writer<WriteHalf<W>>,
        Next { index, before }: Next,
    ) -> Result<(), TransferError> {
        let buffer = std::mem::take(&mut self.buffer);
        let SummedChunk { bytes, sum } = self.share.source.chunk(index, buffer)?;
        if before.is_some_and(|before| before != sum) {
            return Err(self.share.source.failure(Cause::SourceChanged).into());
        }
        let (encoding, body) = self.encoder.encode(&bytes);
        let (len, body_len) = (bytes.len() as u64, body.len() as u64);
        self.joined.sent(SentChunk { index, sum, len, body: body_len });
        let head = ChunkHead { index, sum, encoding: encoding as u8 }.encode();
        writer.bulk(Kind::Chunk, &head, body).await?;
        self.buffer = bytes.into_buffer();
        if let Some(wait) = self.share.pace.sent(body_len, Instant::now()) {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                error = writer.drive() => return Err(error.into()),
            }
        }
        Ok(())
    }
}
