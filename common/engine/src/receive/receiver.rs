//! Takes what the sender sends, chunks or copies and literals, until every chunk is verified.

use std::sync::Arc;

use tokio::io::{AsyncRead, ReadHalf};
use tokio::sync::mpsc;

use super::chunk_writer::ChunkWriter;
use super::lanes::LaneProgress;
use super::open_lanes::{Arrived, OpenLanes};
use super::rebuild::Rebuild;
use super::target::Target;
use crate::cancel::Cancel;
use crate::chunk::encode::Decoder;
use crate::chunk::hash;
use crate::chunk::reconcile::{indices, missing};
use crate::chunk::rehash::{Rehashed, chunk_len};
use crate::chunk::sum::sum;
use crate::delta::BadDelta;
use crate::error::TransferError;
use crate::page_buffer::PageBuffer;
use crate::progress::{Again, Progress};
use crate::transferred::Transferred;
use lariat_wire::limits::CHUNK;
use lariat_wire::link::{Frame, LinkError, Outbox, Reader};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::transfer::{
    Begun, Complete, Copies, Hash, Hashes, LiteralHead, MAX_HASHES, Offer,
};
use lariat_wire::protocol::tree::Missed;
use lariat_wire::protocol::{Kind, Message};

/// The state of one chunk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunk {
    /// The sender will send it, or copies and literals for it.
    Missing,
    /// An earlier attempt left it. It has not been hashed yet.
    Left,
    /// An earlier attempt left this many of its bytes. The sender will send the others.
    Begun(usize),
    /// It was hashed for the sender, which sends its own if the hashes differ.
    Hashed(Hash),
    /// The sender has sent it.
    Sent,
}

/// The receiver of one file.
pub(crate) struct Receiver<'a> {
    pub(super) target: Target,
    path: Vec<u8>,
    pub(super) offer: &'a Offer,
    pub(super) progress: &'a dyn Progress,
    cancel: &'a Cancel,
    pub(super) arrived: Arrived<'a>,
    pub(super) chunks: Vec<Chunk>,
    pub(super) rebuild: Option<Rebuild>,
    /// Hashes that were not sent yet.
    hashed: Hashes,
    pub(super) decoder: Decoder,
    pub(super) buffer: PageBuffer,
    /// The sender has sent Complete.
    pub(crate) is_complete: bool,
}

impl From<BadDelta> for TransferError {
    fn from(_: BadDelta) -> Self {
        Self::misbehaved("its copies and literals do not fit the file")
    }
}

impl<'a> Receiver<'a> {
    pub(crate) fn new(
        target: Target,
        offer: &'a Offer,
        progress: &'a dyn Progress,
        cancel: &'a Cancel,
        received: &'a mut Transferred,
    ) -> Result<Self, Failure> {
        let path = target.path();
        let size = offer.size.unwrap_or_default();
        let count = usize::try_from(offer.chunks()).ok().filter(|&n| n <= hash::MAX_CHUNKS);
        let count = count.ok_or_else(|| too_large(&path))?;
        let mut chunks = vec![Chunk::Missing; count];
        let compared = target.have().compared();
        let mut rebuild = None;
        let mut had = 0;
        if let Target::File(opened) = &target {
            for index in indices(&opened.have) {
                chunks[usize::try_from(index).expect("ranges lie within the chunks")] = Chunk::Left;
                had += chunk_len(size, index) as u64;
            }
            if let Some(Begun { chunk, len }) = opened.begun {
                let place = usize::try_from(chunk).expect("it lies within the chunks");
                chunks[place] = Chunk::Begun(len as usize);
                had += u64::from(len);
            }
            if let Some(basis) = &opened.basis {
                let missing = missing(&compared, offer.chunks());
                let writing = ChunkWriter::start(Arc::clone(opened.file.body()), offer.sparse)?;
                let basis_file = basis.file.clone();
                rebuild = Some(Rebuild::new(basis_file, basis.size, &missing, size, writing));
            }
        }
        progress.begin(offer.size, had);
        received.size = size;
        let buffer = PageBuffer::new(offer.size.map_or(CHUNK, |size| chunk_len(size, 0)));
        Ok(Self {
            target,
            path,
            offer,
            progress,
            cancel,
            arrived: Arrived { received, lanes: None },
            chunks,
            rebuild,
            hashed: Hashes { first: 0, hashes: Vec::new() },
            decoder: Decoder::new(),
            buffer,
            is_complete: false,
        })
    }

    pub(crate) fn into_target(self) -> Target {
        self.target
    }

    /// Takes everything, and returns what the sender says at the end.
    pub(crate) async fn run<R: AsyncRead>(
        &mut self,
        reader: &mut Reader<ReadHalf<R>>,
        outbox: &Outbox,
        left: Option<mpsc::Receiver<Rehashed>>,
    ) -> Result<Complete, TransferError> {
        // A channel that has ended stands for nothing left.
        let mut left = left.unwrap_or_else(|| mpsc::channel(1).1);
        loop {
            let frame = tokio::select! {
                biased;
                cause = self.cancel.cancelled() => return Err(self.failure(Action::Write, cause).into()),
                () = OpenLanes::changed(self.arrived.lanes.as_mut()) => {
                    self.count_lanes()?;
                    continue;
                }
                Some(first) = left.recv() => {
                    self.left(first, &mut left, outbox)?;
                    continue;
                }
                frame = reader.next() => frame?.ok_or(LinkError::Cut)?,
            };
            match frame.kind {
                Kind::Chunk => self.chunk(reader, frame, outbox).await?,
                Copies::KIND => self.copies(&reader.message()?, outbox)?,
                Kind::Literal => self.literal(reader, frame, outbox).await?,
                Complete::KIND => {
                    let complete = reader.message()?;
                    self.finish_lanes().await?;
                    return self.complete(complete);
                }
                Failure::KIND => return Err(TransferError::Remote(reader.message()?)),
                // The rest of the tree continues.
                Missed::KIND => {
                    return Err(TransferError::Missed(reader.message::<Missed>()?.failure));
                }
                other => return Err(LinkError::Unexpected(other).into()),
            }
            if let Some(done) = self.rebuild.take_if(|rebuild| rebuild.is_done()) {
                if let Target::File(opened) = &mut self.target {
                    opened.file.set_likeness(done.likeness());
                }
                done.finish()?;
                self.send_hashes(outbox)?;
            } else if self.hashed.hashes.len() >= MAX_HASHES / 2 {
                self.send_hashes(outbox)?;
            }
        }
    }

    /// Takes the hashes of old chunks that are ready, and sends them.
    fn left(
        &mut self,
        first: Rehashed,
        more: &mut mpsc::Receiver<Rehashed>,
        outbox: &Outbox,
    ) -> Result<(), TransferError> {
        // No data has this hash, so a chunk that can't be read is sent again.
        const UNREADABLE: Hash = [0; 32];
        self.send_hashes(outbox)?;
        let mut next = Some(first);
        while let Some((index, hash)) = next {
            self.chunk_hashed(index, hash.unwrap_or(UNREADABLE), outbox)?;
            next = more.try_recv().ok();
        }
        Ok(self.send_hashes(outbox)?)
    }

    /// Records the hash of a chunk that the sender did not send.
    pub(super) fn chunk_hashed(
        &mut self,
        index: u64,
        hash: Hash,
        outbox: &Outbox,
    ) -> Result<(), LinkError> {
        let place = usize::try_from(index).expect("chunks are counted in memory");
        self.chunks[place] = Chunk::Hashed(hash);
        let Hashes { first, hashes } = &self.hashed;
        if first + hashes.len() as u64 != index || hashes.len() == MAX_HASHES {
            self.send_hashes(outbox)?;
            self.hashed.first = index;
        }
        self.hashed.hashes.push(hash);
        Ok(())
    }

    pub(super) fn send_hashes(&mut self, outbox: &Outbox) -> Result<(), LinkError> {
        if !self.hashed.hashes.is_empty() {
            outbox.post(&self.hashed)?;
            self.hashed.first += self.hashed.hashes.len() as u64;
            self.hashed.hashes.clear();
        }
        Ok(())
    }

    fn copies(&mut self, copies: &Copies, outbox: &Outbox) -> Result<(), TransferError> {
        let Some(mut rebuild) = self.rebuild.take() else {
            return Err(TransferError::misbehaved("it sent copies without a basis"));
        };
        for copy in &copies.copies {
            if let Some(cause) = self.cancel.cause() {
                return Err(self.failure(Action::Write, cause).into());
            }
            rebuild
                .copy(copy.from, copy.len, |index, hash| self.chunk_hashed(index, hash, outbox))?;
            self.progress.moved(u64::from(copy.len));
        }
        self.rebuild = Some(rebuild);
        Ok(())
    }

    async fn literal<R: AsyncRead>(
        &mut self,
        reader: &mut Reader<ReadHalf<R>>,
        frame: Frame,
        outbox: &Outbox,
    ) -> Result<(), TransferError> {
        let head = LiteralHead::decode(reader.bulk_array().await?);
        let Some(mut rebuild) = self.rebuild.take() else {
            return Err(TransferError::misbehaved("it sent a literal without a basis"));
        };
        let len = usize::try_from(head.len).ok().filter(|&len| len <= self.buffer.len());
        let len = len.ok_or(TransferError::misbehaved("a literal is too long"))?;
        let body = frame.len - LiteralHead::LEN;
        let bad = TransferError::misbehaved("a body has the wrong length");
        let out = self.buffer.get_mut(..len).ok_or(bad)?;
        let (came, done) = self.decoder.body(reader, head.encoding, out).await;
        if let Err(cut) = done {
            if came > 0 {
                // The connection is gone, so hashes of completed chunks are dropped.
                rebuild.literal(&self.buffer[..came], |_, _| Ok(()))?;
            }
            self.rebuild = Some(rebuild);
            return Err(cut);
        }
        if sum(self.offer.seed, &self.buffer[..len]) != head.sum {
            return Err(self.failure(Action::Verify, Cause::Mismatch).into());
        }
        let buffer = std::mem::take(&mut self.buffer);
        let put =
            rebuild.literal(&buffer[..len], |index, hash| self.chunk_hashed(index, hash, outbox));
        self.buffer = buffer;
        put?;
        self.rebuild = Some(rebuild);
        self.moved(len, body);
        Ok(())
    }

    pub(super) fn moved(&mut self, len: usize, body: usize) {
        self.arrived.received.sent += body as u64;
        self.arrived.received.moved += len as u64;
        self.progress.moved(len as u64);
    }

    /// Counts what lanes have received.
    pub(super) fn lane_moved(&mut self, brought: LaneProgress) {
        self.arrived.add(brought);
        if brought.moved > 0 {
            self.progress.moved(brought.moved);
        }
        if brought.again > 0 {
            self.progress.again(Again::Lane, brought.again);
        }
    }

    /// Checks that every chunk is there.
    fn complete(&mut self, complete: Complete) -> Result<Complete, TransferError> {
        self.is_complete = true;
        let is_there = |chunk: &Chunk| matches!(chunk, Chunk::Hashed(_) | Chunk::Sent);
        if !self.chunks.iter().all(is_there) {
            return Err(TransferError::misbehaved("it left chunks out"));
        }
        let size = self.offer.size.unwrap_or(complete.size);
        if complete.size != size || size.div_ceil(CHUNK as u64) != self.chunks.len() as u64 {
            return Err(self.failure(Action::Verify, Cause::Mismatch).into());
        }
        self.arrived.received.size = size;
        Ok(complete)
    }

    pub(super) fn failure(&self, action: Action, cause: Cause) -> Failure {
        Failure { action, path: Some(self.path.clone()), cause }
    }
}

fn too_large(path: &[u8]) -> Failure {
    let cause = Cause::BadRequest("the file is larger than a transfer can be".to_owned());
    Failure { action: Action::Write, path: Some(path.to_vec()), cause }
}
