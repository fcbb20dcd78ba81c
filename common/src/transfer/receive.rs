//! The receiver: says what it has, takes what is missing, and puts the complete file in its place.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use super::error::TransferError;
use super::reconcile::indices;
use super::rehash::Rehashed;
use super::{Cancel, Partial, Progress, hash, rehash};
use crate::link::{Frame, Link, LinkError};
use crate::protocol::failure::{Action, Cause, Failure};
use crate::protocol::transfer::{
    ChunkHead, Complete, Done, Hash, Hashes, Have, MAX_HASHES, Offer, Range,
};
use crate::protocol::{Kind, Message};

/// What a receiver did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes of the file that were received.
    pub received: u64,
    /// Bytes of the file that were already there.
    pub reused: u64,
}

/// Receives an offered file into its partial, and gives it its name when it is complete.
///
/// `have` is what [`Partial::open`] told. After an error the connection must be ended.
pub async fn receive<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    partial: Partial,
    have: Vec<Range>,
    offer: &Offer,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Received, TransferError> {
    let mut receiving = Receiving::new(partial, &have, offer, progress)?;
    let outcome = receiving.run(link, have, cancel).await;
    let Receiving { partial, received, path, .. } = receiving;
    let outcome = match outcome {
        Ok(()) => commit(link, partial, offer).await,
        Err(error) => {
            partial.abandon(cause(&error));
            Err(error)
        }
    };
    match outcome {
        Ok(()) => {
            link.send(&Done { path }).await?;
            Ok(Received { received, reused: offer.size.saturating_sub(received) })
        }
        Err(error) => {
            if let TransferError::Local(failure) = &error {
                link.send(failure).await?;
                link.drain(DRAIN).await;
            }
            Err(error)
        }
    }
}

/// How long the sender may take to notice that the receiver has failed.
const DRAIN: Duration = Duration::from_secs(10);

/// Commits on a thread of its own: forcing a large file to a slow disk may take longer than a peer
/// that hears nothing would wait.
async fn commit<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    partial: Partial,
    offer: &Offer,
) -> Result<(), TransferError> {
    let (done, mut committed) = oneshot::channel();
    let failed = partial.spawn_failure();
    let offer = offer.clone();
    let thread = std::thread::Builder::new().name("commit".to_owned());
    let work = move || {
        // Fails only when nobody waits for it any more.
        let _ = done.send(partial.commit(&offer));
    };
    thread.spawn(work).map_err(failed)?;
    tokio::select! {
        biased;
        committed = &mut committed => match committed {
            Ok(committed) => Ok(committed?),
            Err(_) => Err(Failure::request(Cause::Internal).into()),
        },
        frame = link.next() => match frame?.map(|frame| frame.kind) {
            Some(Failure::KIND) => Err(TransferError::Remote(link.reader.message()?)),
            Some(other) => Err(LinkError::Unexpected(other).into()),
            None => Err(LinkError::Cut.into()),
        }
    }
}

fn cause(error: &TransferError) -> &Cause {
    match error {
        TransferError::Local(failure) | TransferError::Remote(failure) => &failure.cause,
        TransferError::Link(_) => &Cause::Stopping,
    }
}

/// What is known of one chunk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chunk {
    /// The sender will send it.
    Missing,
    /// A broken attempt left it; it has not been hashed yet.
    Left,
    /// It was hashed and the sender told; it may still send its own.
    Hashed(Hash),
    /// The sender sent it.
    Sent(Hash),
}

struct Receiving<'a> {
    partial: Partial,
    offer: &'a Offer,
    progress: &'a dyn Progress,
    chunks: Vec<Chunk>,
    buffer: Vec<u8>,
    only: Hash,
    received: u64,
    path: Vec<u8>,
}

impl<'a> Receiving<'a> {
    fn new(
        partial: Partial,
        have: &[Range],
        offer: &'a Offer,
        progress: &'a dyn Progress,
    ) -> Result<Self, Failure> {
        let path = partial.path().into_os_string().as_bytes().to_vec();
        let count = usize::try_from(offer.chunks()).ok().filter(|&count| count <= MAX_CHUNKS);
        let Some(count) = count else {
            let cause = Cause::BadRequest("the file is larger than a transfer can be".to_owned());
            return Err(Failure { action: Action::Write, path: Some(path), cause });
        };
        let mut chunks = vec![Chunk::Missing; count];
        let mut had = 0;
        for index in indices(have) {
            chunks[usize::try_from(index).expect("ranges lie within the chunks")] = Chunk::Left;
            had += rehash::chunk_len(offer.size, index) as u64;
        }
        progress.begin(offer.size, had);
        let buffer = vec![0; rehash::chunk_len(offer.size, 0)];
        Ok(Self {
            partial,
            offer,
            progress,
            chunks,
            buffer,
            only: hash::empty(),
            received: 0,
            path,
        })
    }

    async fn run<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        have: Vec<Range>,
        cancel: &Cancel,
    ) -> Result<(), TransferError> {
        link.outbox().post(&Have { chunks: have.clone() })?;
        let mut left = rehash::start(self.partial.file().clone(), self.offer.size, have)
            .map_err(|error| self.failure(Action::Read, &error))?;
        loop {
            tokio::select! {
                biased;
                cause = cancel.cancelled() => {
                    return Err(Failure { action: Action::Write, path: Some(self.path.clone()), cause }.into());
                }
                Some(first) = left.recv() => {
                    let hashes = self.hashed(first, &mut left);
                    link.outbox().post(&hashes)?;
                }
                frame = link.next() => {
                    let frame = frame?.ok_or(LinkError::Cut)?;
                    match frame.kind {
                        Kind::Chunk => self.chunk(link, frame).await?,
                        Complete::KIND => return self.complete(link.reader.message()?),
                        Failure::KIND => return Err(TransferError::Remote(link.reader.message()?)),
                        other => return Err(LinkError::Unexpected(other).into()),
                    }
                }
            }
        }
    }

    /// Takes the hashes of old chunks that are ready, and makes the message that tells of them.
    fn hashed(&mut self, first: Rehashed, more: &mut mpsc::Receiver<Rehashed>) -> Hashes {
        // A chunk that can't be read is one that differs: no data hashes to this.
        const UNREADABLE: Hash = [0; 32];
        let mut hashes = Vec::new();
        let mut next = Some(first);
        while let Some((index, hash)) = next {
            let hash = hash.unwrap_or(UNREADABLE);
            let index = usize::try_from(index).expect("ranges lie within the chunks");
            self.chunks[index] = Chunk::Hashed(hash);
            hashes.push(hash);
            next = if hashes.len() < MAX_HASHES { more.try_recv().ok() } else { None };
        }
        Hashes { hashes }
    }

    async fn chunk<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        frame: Frame,
    ) -> Result<(), TransferError> {
        let head = ChunkHead::decode(link.reader.bulk_array().await?);
        let index = usize::try_from(head.index).unwrap_or(usize::MAX);
        if !matches!(self.chunks.get(index), Some(Chunk::Missing | Chunk::Hashed(_))) {
            return Err(TransferError::misbehaved("it sent a chunk that nobody asked for"));
        }
        let bytes = &mut self.buffer[..rehash::chunk_len(self.offer.size, head.index)];
        if frame.len != ChunkHead::LEN + bytes.len() {
            return Err(TransferError::misbehaved("a chunk has the wrong length"));
        }
        link.reader.bulk(bytes).await?;
        let hash = match self.chunks.len() {
            1 => {
                let (hash, only) = hash::first_chunk(bytes);
                self.only = only;
                hash
            }
            _ => hash::chunk(head.index, bytes),
        };
        if hash != head.hash {
            return Err(self.mismatch().into());
        }
        self.chunks[index] = Chunk::Sent(hash);
        self.partial.write(head.index, bytes)?;
        self.received += bytes.len() as u64;
        self.progress.moved(bytes.len() as u64);
        Ok(())
    }

    /// The sender says that it is all there: it must be so.
    fn complete(&mut self, complete: Complete) -> Result<(), TransferError> {
        let hashes: Option<Vec<Hash>> = self
            .chunks
            .iter()
            .map(|chunk| match chunk {
                Chunk::Hashed(hash) | Chunk::Sent(hash) => Some(*hash),
                Chunk::Missing | Chunk::Left => None,
            })
            .collect();
        let hashes = hashes.ok_or(TransferError::misbehaved("it left chunks out"))?;
        let whole = hash::file(&hashes, self.only);
        if complete.size != self.offer.size || whole != complete.hash {
            return Err(self.mismatch().into());
        }
        Ok(())
    }

    fn mismatch(&self) -> Failure {
        Failure { action: Action::Verify, path: Some(self.path.clone()), cause: Cause::Mismatch }
    }

    fn failure(&self, action: Action, error: &io::Error) -> Failure {
        Failure::io(action, &self.path, error)
    }
}

/// Most chunks of one file: what is kept of each, 40 bytes, is kept in memory. 8 TiB.
const MAX_CHUNKS: usize = 16 * 1024 * 1024;
