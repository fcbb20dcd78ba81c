//! Sends packs and whole files of a tree on one connection.

use std::pin::pin;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadHalf};

use super::watch::{FileProgress, Watch};
use crate::cancel::Cancel;
use crate::chunk::encode::Encoder;
use crate::chunk::sum::sum;
use crate::error::TransferError;
use crate::lanes::Lanes;
use crate::send::{Ending, Pace, SendFile, Sender};
use crate::source::Source;
use crate::transferred::Transferred;
use lariat_wire::link::{Link, LinkError, Reader};
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::transfer::{LiteralHead, Sending};
use lariat_wire::protocol::tree::{Begin, PackedHead};

/// The counts of a content.
#[derive(Clone, Copy, Default)]
pub(super) struct SentContent {
    /// Bodies on the wire.
    pub(super) sent: u64,
    /// Files that they encode.
    pub(super) moved: u64,
}

/// The dialogue of a connection that sends contents.
pub(super) trait Messages {
    /// Handles a message of the receiver.
    fn handle<R: AsyncRead>(
        &mut self,
        kind: Kind,
        reader: &Reader<ReadHalf<R>>,
    ) -> Result<(), TransferError>;

    /// Reports to the receiver and the observer what can't be sent.
    fn missed<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &Link<S>,
        number: Option<u64>,
        failure: Failure,
    ) -> Result<(), LinkError>;

    /// The last message of a content is about to be sent.
    fn ends(&mut self, content: SentContent);

    /// Bytes were sent.
    fn has_sent(&mut self, content: SentContent);

    /// Runs a future that writes, and handles the receiver's messages meanwhile.
    async fn during<R: AsyncRead, T>(
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
}

/// Sends contents on one connection.
pub(super) struct ContentSender<'a> {
    how: Sending,
    /// Of the sums of packs.
    seed: u64,
    watch: &'a dyn Watch,
    cancel: &'a Cancel,
    encoder: Encoder,
    pace: Pace,
}

impl<'a> ContentSender<'a> {
    pub(super) fn new(
        how: Sending,
        seed: u64,
        pace: Pace,
        watch: &'a dyn Watch,
        cancel: &'a Cancel,
    ) -> std::io::Result<Self> {
        Ok(Self { how, seed, watch, cancel, encoder: Encoder::new(how.compress)?, pace })
    }

    /// Sends a pack of this many files.
    pub(super) async fn pack<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        messages: &mut impl Messages,
        pack: &[u8],
        files: usize,
    ) -> Result<(), TransferError> {
        let sum = sum(self.seed, pack);
        let (encoding, body) = self.encoder.encode(pack);
        let len = u32::try_from(pack.len()).expect("a pack is at most a chunk");
        let head = LiteralHead { len, sum, encoding: encoding as u8 }.encode();
        let moved = (pack.len() - files * PackedHead::LEN) as u64;
        let content = SentContent { sent: body.len() as u64, moved };
        messages.ends(content);
        let sending = link.writer.bulk(Kind::Pack, &head, body);
        messages.during(&mut link.reader, sending).await??;
        messages.has_sent(content);
        self.watch.moved(moved);
        if let Some(wait) = self.pace.sent(content.sent, Instant::now()) {
            messages.during(&mut link.reader, tokio::time::sleep(wait)).await?;
        }
        Ok(())
    }

    /// Sends a file of which the receiver has nothing, on this connection and perhaps on `lanes`.
    pub(super) async fn whole<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        messages: &mut impl Messages,
        number: u64,
        mut source: Source,
        lanes: Option<&Lanes<SendFile>>,
    ) -> Result<(), TransferError> {
        let _ending = Ending(lanes.cloned());
        link.outbox().post(&Begin { number, offer: source.offer().clone() })?;
        let (mut sent, progress) = (Transferred::default(), FileProgress(self.watch));
        let done = {
            let (source, sent) = (&mut source, &mut sent);
            let mut sender =
                Sender::new(&mut link.writer, source, self.how, &progress, self.cancel, sent)?;
            messages.during(&mut link.reader, sender.whole(lanes)).await
        };
        let content = SentContent { sent: sent.sent, moved: sent.moved };
        messages.has_sent(content);
        match done? {
            Err(TransferError::Local(failure)) if self.cancel.cause().is_none() => {
                messages.missed(link, Some(number), failure)?;
            }
            done => done?,
        }
        messages.ends(content);
        Ok(())
    }
}
