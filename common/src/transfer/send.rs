//! The sender: reads, hashes and sends what the receiver does not have.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use super::error::TransferError;
use super::reconcile::{Reconcile, indices, missing};
use super::rehash::Rehashed;
use super::{Cancel, Progress, Source, hash, rehash};
use crate::limits::CHUNK;
use crate::link::{Link, LinkError, Reader, Writer};
use crate::protocol::failure::{Cause, Failure};
use crate::protocol::transfer::{ChunkHead, Complete, Done, Hash, Hashes, Have};
use crate::protocol::{Kind, Message};

/// How long a peer that does not read is waited for, when it is told of a failure.
const TELL: Duration = Duration::from_secs(2);

/// What a sender did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Bytes of the file that were sent.
    pub sent: u64,
    /// Bytes of the file that the receiver already had.
    pub reused: u64,
    /// The name that the file got on the other end.
    pub path: Vec<u8>,
}

/// Sends a file that has been offered: waits for what the receiver has, and returns when the file is
/// on its disk.
///
/// After an error the connection must be ended: what is under way on it is not known.
pub async fn send<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    source: &Source,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Sent, TransferError> {
    let chunks = source.offer().chunks();
    let have = receive_have(link, chunks).await?;
    let had: u64 = indices(&have.chunks)
        .map(|index| rehash::chunk_len(source.offer().size, index) as u64)
        .sum();
    progress.begin(source.offer().size, had);
    let awaited = indices(&have.chunks).count();
    let (theirs, their_hashes) = mpsc::unbounded_channel();
    let mut sending = Sending {
        writer: &mut link.writer,
        source,
        progress,
        cancel,
        buffer: vec![0; rehash::chunk_len(source.offer().size, 0)],
        hashes: vec![[0; 32]; usize::try_from(chunks).map_err(|_| too_large(source))?],
        only: hash::empty(),
        sent: 0,
    };
    let outcome = tokio::select! {
        biased;
        path = listen(&mut link.reader, awaited, theirs) => path,
        error = sending.run(&have, their_hashes) => Err(error),
        cause = cancel.cancelled() => Err(source.failure(cause).into()),
    };
    let sent = sending.sent;
    if let Err(TransferError::Local(failure)) = &outcome
        && !link.writer.is_broken()
    {
        // A peer that does not take it sees the connection end, which is as good.
        let _ = tokio::time::timeout(TELL, link.send(failure)).await;
    }
    let reused = source.offer().size.saturating_sub(sent);
    Ok(Sent { sent, reused, path: outcome? })
}

async fn receive_have<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    chunks: u64,
) -> Result<Have, TransferError> {
    let frame = link.next().await?.ok_or(LinkError::Cut)?;
    match frame.kind {
        Have::KIND => {
            let have: Have = link.reader.message()?;
            // One chunk is quicker sent than compared, so that a file of one is never resumed.
            let chunks = if chunks > 1 { chunks } else { 0 };
            have.check(chunks)
                .map_err(|_| TransferError::misbehaved("it has chunks that do not exist"))?;
            Ok(have)
        }
        Failure::KIND => Err(TransferError::Remote(link.reader.message()?)),
        other => Err(LinkError::Unexpected(other).into()),
    }
}

/// Listens to the receiver until the file is done or has failed there.
async fn listen<R: AsyncRead>(
    reader: &mut Reader<ReadHalf<R>>,
    mut awaited: usize,
    hashes: mpsc::UnboundedSender<Hashes>,
) -> Result<Vec<u8>, TransferError> {
    loop {
        let frame = reader.next().await?.ok_or(LinkError::Cut)?;
        match frame.kind {
            Hashes::KIND => {
                let next: Hashes = reader.message()?;
                awaited = awaited.checked_sub(next.hashes.len()).ok_or(
                    TransferError::misbehaved("it hashed more chunks than it said it has"),
                )?;
                // Fails only when the sending has ended, which is about to be noticed.
                let _ = hashes.send(next);
            }
            Done::KIND => return Ok(reader.message::<Done>()?.path),
            Failure::KIND => return Err(TransferError::Remote(reader.message()?)),
            other => return Err(LinkError::Unexpected(other).into()),
        }
    }
}

struct Sending<'a, S> {
    writer: &'a mut Writer<WriteHalf<S>>,
    source: &'a Source,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
    buffer: Vec<u8>,
    hashes: Vec<Hash>,
    only: Hash,
    sent: u64,
}

impl<S: AsyncRead + AsyncWrite> Sending<'_, S> {
    /// Sends everything, then whatever is posted, until something fails.
    async fn run(&mut self, have: &Have, theirs: mpsc::UnboundedReceiver<Hashes>) -> TransferError {
        match self.everything(have, theirs).await {
            Ok(()) => self.writer.drive().await.into(),
            Err(error) => error,
        }
    }

    async fn everything(
        &mut self,
        have: &Have,
        theirs: mpsc::UnboundedReceiver<Hashes>,
    ) -> Result<(), TransferError> {
        let size = self.source.offer().size;
        let ours = rehash::start(self.source.file().clone(), size, have.chunks.clone())
            .map_err(|error| self.source.read_error(&error))?;
        for index in missing(&have.chunks, self.source.offer().chunks()) {
            self.chunk(index).await?;
        }
        self.resend(have, ours, theirs).await?;
        self.source.check_unchanged()?;
        let hash = hash::file(&self.hashes, self.only);
        Ok(self.writer.outbox().post(&Complete { size, hash })?)
    }

    /// Compares the chunks that both have, and sends those that differ.
    async fn resend(
        &mut self,
        have: &Have,
        mut ours: mpsc::Receiver<Rehashed>,
        mut theirs: mpsc::UnboundedReceiver<Hashes>,
    ) -> Result<(), TransferError> {
        let mut reconcile = Reconcile::new(&have.chunks);
        while !reconcile.done() {
            tokio::select! {
                Some((index, hash)) = ours.recv() => {
                    let hash = hash.map_err(|error| self.source.read_error(&error))?;
                    self.keep(index, hash);
                    reconcile.ours(hash);
                }
                Some(hashes) = theirs.recv() => reconcile.theirs(&hashes.hashes),
                error = self.writer.drive() => return Err(error.into()),
            }
            while let Some(index) = reconcile.next_differing() {
                self.chunk(index).await?;
            }
        }
        Ok(())
    }

    async fn chunk(&mut self, index: u64) -> Result<(), TransferError> {
        if let Some(cause) = self.cancel.cause() {
            return Err(self.source.failure(cause).into());
        }
        let bytes = self.source.read(index, &mut self.buffer)?;
        let hash = match self.hashes.len() {
            1 => {
                let (hash, only) = hash::first_chunk(bytes);
                self.only = only;
                hash
            }
            _ => hash::chunk(index, bytes),
        };
        let head = ChunkHead { index, hash }.encode();
        self.writer.bulk(Kind::Chunk, &head, bytes).await?;
        let len = bytes.len() as u64;
        self.sent += len;
        self.progress.moved(len);
        self.keep(index, hash);
        Ok(())
    }

    fn keep(&mut self, index: u64, hash: Hash) {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(place) = self.hashes.get_mut(index) {
            *place = hash;
        }
    }
}

fn too_large(source: &Source) -> Failure {
    source.failure(Cause::BadRequest(format!("over {} chunks of {CHUNK} bytes", usize::MAX)))
}
