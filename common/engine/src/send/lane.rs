//! Sends chunks of a file on a further connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use lariat_wire::link::{Link, LinkError, Reader, Writer};
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::transfer::{ChunkHead, Taken};
use lariat_wire::protocol::{Kind, Message};
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};

use super::lanes::SendFile;
use super::pace::Pace;
use super::queue::{Next, SentChunk};
use crate::chunk::encode::Encoder;
use crate::error::TransferError;
use crate::lanes::Joined;
use crate::page_buffer::PageBuffer;
use crate::source::{Source, SummedChunk};
use crate::wakeup::Changes;

/// Why a lane ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneEnd {
    /// The receiver has ended it.
    ByReceiver,
    /// The transfer is over, or the lane is retired: everything that it has sent was acknowledged.
    Acknowledged,
    /// The transfer is over before that.
    GivenUp,
}

/// Sends chunks until the transfer is over or the lane is retired. Adds to `taken` the chunks that the receiver
/// acknowledges, the first of which it counts as one more than `acknowledged`.
pub(crate) async fn send_lane<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    joined: &Joined<SendFile>,
    acknowledged: &mut u64,
    taken: &AtomicU64,
) -> Result<LaneEnd, TransferError> {
    let Some(mut sender) = LaneSender::new(joined)? else { return Ok(LaneEnd::Acknowledged) };
    let before = *acknowledged;
    tokio::select! {
        biased;
        done = listen(&mut link.reader, joined, acknowledged, taken) => {
            return done.map(|()| LaneEnd::ByReceiver);
        }
        () = joined.over() => {}
        done = sender.run(&mut link.writer) => done?,
    }
    let are_all = *acknowledged - before == sender.sent;
    Ok(if are_all { LaneEnd::Acknowledged } else { LaneEnd::GivenUp })
}

/// Reads the receiver's acknowledgements, until it ends the lane.
async fn listen<R: AsyncRead>(
    reader: &mut Reader<ReadHalf<R>>,
    joined: &Joined<SendFile>,
    acknowledged: &mut u64,
    taken: &AtomicU64,
) -> Result<(), TransferError> {
    while let Some(frame) = reader.next().await? {
        let Taken { count, last } = match frame.kind {
            Taken::KIND => reader.message()?,
            Failure::KIND => return Err(TransferError::Remote(reader.message()?)),
            other => return Err(LinkError::Unexpected(other).into()),
        };
        let not_sent = TransferError::misbehaved("it has taken chunks that were not sent");
        let Some(more) = count.checked_sub(*acknowledged) else { return Err(not_sent) };
        if let Some(Err(_)) = joined.with(|file, lane| file.queue.acknowledge(lane, more)) {
            return Err(not_sent);
        }
        joined.announce();
        *acknowledged = count;
        taken.fetch_add(more, Ordering::Relaxed);
        if last {
            joined.retire();
        }
    }
    Ok(())
}

/// Sends the chunks of one lane.
struct LaneSender<'a> {
    joined: &'a Joined<SendFile>,
    source: Source,
    pace: Pace,
    encoder: Encoder,
    buffer: PageBuffer,
    changes: Changes,
    /// Chunks that it has begun to send.
    sent: u64,
}

impl<'a> LaneSender<'a> {
    /// `None` if the attempt is over already.
    fn new(joined: &'a Joined<SendFile>) -> Result<Option<Self>, Failure> {
        let share =
            |file: &mut SendFile, _| (file.source.another(), file.sending, file.pace.clone());
        let Some((source, sending, pace)) = joined.with(share) else { return Ok(None) };
        let encoder = Encoder::new(sending.compress).map_err(|error| source.read_error(&error))?;
        let (buffer, changes) = (PageBuffer::default(), joined.changes());
        Ok(Some(Self { joined, source, pace, encoder, buffer, changes, sent: 0 }))
    }

    /// Sends chunks, and what is posted, until something fails or the lane is retired and all has arrived.
    async fn run<W: AsyncWrite>(
        &mut self,
        writer: &mut Writer<WriteHalf<W>>,
    ) -> Result<(), TransferError> {
        loop {
            let is_retired = self.joined.is_retired();
            let next = |file: &mut SendFile, lane| file.queue.next_on(lane);
            let next = if is_retired { None } else { self.joined.with(next).flatten() };
            let sent = if let Some(next) = next {
                self.chunk(writer, next).await
            } else if is_retired
                && self.joined.with(|file, lane| file.queue.is_idle(lane)) != Some(false)
            {
                return Ok(());
            } else {
                // Chunks of a lost lane are sent again.
                tokio::select! {
                    () = self.changes.next() => Ok(()),
                    error = writer.drive() => Err(error.into()),
                }
            };
            if let Err(TransferError::Local(failure)) = &sent {
                self.joined.with(|file, _| _ = file.failure.get_or_insert(failure.clone()));
                self.joined.announce();
            }
            sent?;
        }
    }

    async fn chunk<W: AsyncWrite>(
        &mut self,
        writer: &mut Writer<WriteHalf<W>>,
        Next { index, before }: Next,
    ) -> Result<(), TransferError> {
        let buffer = std::mem::take(&mut self.buffer);
        let SummedChunk { bytes, sum } = self.source.chunk(index, buffer)?;
        if before.is_some_and(|before| before != sum) {
            return Err(self.source.failure(Cause::SourceChanged).into());
        }
        let (encoding, body) = self.encoder.encode(&bytes);
        let (len, body_len) = (bytes.len() as u64, body.len() as u64);
        let sent = SentChunk { index, sum, len, body: body_len };
        self.joined.with(|file, lane| file.queue.sent(lane, sent));
        self.sent += 1;
        let head = ChunkHead { index, sum, encoding: encoding as u8 }.encode();
        writer.bulk(Kind::Chunk, &head, body).await?;
        self.buffer = bytes.into_buffer();
        if let Some(wait) = self.pace.sent(body_len, Instant::now()) {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                error = writer.drive() => return Err(error.into()),
            }
        }
        Ok(())
    }
}
