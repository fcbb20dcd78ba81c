//! Takes one chunk: a whole one, the rest of one that an earlier attempt began, or the part before a cut.

use tokio::io::{AsyncRead, ReadHalf};

use super::receiver::{Chunk, Receiver};
use super::target::Target;
use crate::chunk::hash;
use crate::chunk::rehash::chunk_len;
use crate::chunk::sum::sum;
use crate::error::TransferError;
use crate::progress::Again;
use lariat_wire::limits::CHUNK;
use lariat_wire::link::{Frame, Outbox, Reader};
use lariat_wire::protocol::failure::{Action, Cause};
use lariat_wire::protocol::transfer::{ChunkHead, Encoding};

impl Receiver<'_> {
    /// Takes a chunk, or the rest of one that an earlier attempt began.
    pub(super) async fn chunk<R: AsyncRead>(
        &mut self,
        reader: &mut Reader<ReadHalf<R>>,
        frame: Frame,
        outbox: &Outbox,
    ) -> Result<(), TransferError> {
        let head = ChunkHead::decode(reader.bulk_array().await?);
        let index = usize::try_from(head.index).unwrap_or(usize::MAX);
        if self.offer.size.is_none() && index == self.chunks.len() && index < hash::MAX_CHUNKS {
            self.chunks.push(Chunk::Missing);
        }
        let (again, begun) = match self.chunks.get(index) {
            // During a rebuild another thread may be writing the same chunk.
            Some(Chunk::Missing) if self.rebuild.is_none() => (None, 0),
            Some(Chunk::Hashed(_)) if self.rebuild.is_none() => (Some(Again::Differs), 0),
            Some(Chunk::Sent) if self.arrived.lanes.is_some() => (Some(Again::Lane), 0),
            Some(&Chunk::Begun(len)) => (Some(Again::Cut), len),
            _ => return Err(TransferError::misbehaved("it sent a chunk that was not requested")),
        };
        let body = frame.len - ChunkHead::LEN;
        let len = match self.offer.size {
            Some(size) => chunk_len(size, head.index),
            // Only the last chunk of a stream is shorter. Its length is that of its body.
            None if head.encoding == Encoding::Raw as u8 => body,
            None => CHUNK,
        };
        let rest = self.buffer.get_mut(begun..len);
        let rest = rest.ok_or(TransferError::misbehaved("a body has the wrong length"))?;
        let (came, done) = self.decoder.body(reader, head.encoding, rest).await;
        if let Err(cut) = done {
            self.keep_begun(head.index, begun, came);
            return Err(cut);
        }
        if sum(self.offer.seed, &self.buffer[begun..len]) != head.sum {
            return Err(self.failure(Action::Verify, Cause::Mismatch).into());
        }
        let has_come = self.arrived.lanes.as_ref().is_some_and(|lanes| lanes.has(index));
        if let Some(why) = again.or(has_come.then_some(Again::Lane)) {
            self.progress.again(why, 1);
        }
        if let Target::File(opened) = &self.target {
            opened.file.body().read_begun(head.index, &mut self.buffer[..begun]);
        }
        if has_come {
            self.chunks[index] = Chunk::Sent;
            return Ok(());
        }
        let bytes = &self.buffer[..len];
        // The beginning of one that an earlier attempt left is compared like all that it left.
        let begun_hash = (begun > 0).then(|| hash::chunk(head.index, bytes));
        self.chunks[index] = Chunk::Sent;
        match &mut self.target {
            Target::File(opened) => {
                opened.file.differs_at(head.index * CHUNK as u64);
                opened.file.body().write(head.index, bytes, again.is_none(), self.offer.sparse)?;
            }
            Target::Stream(stream) => {
                if !stream.write(bytes.to_vec()).await {
                    return Err(self.failure(Action::Write, Cause::Internal).into());
                }
            }
        }
        self.moved(len - begun, body);
        if let Some(hash) = begun_hash {
            self.chunk_hashed(head.index, hash, outbox)?;
            self.send_hashes(outbox)?;
        }
        Ok(())
    }

    /// Keeps the part of the chunk that was being rebuilt when the connection was cut.
    pub(super) fn keep_rebuilt(&mut self) {
        let Some(rebuild) = self.rebuild.take() else { return };
        if let (Some((index, bytes)), Target::File(opened)) = (rebuild.begun(), &self.target) {
            opened.file.keep_begun(index, 0, &bytes);
        }
    }

    /// Keeps the part of a chunk that arrived before the connection was cut, so it is not sent again.
    fn keep_begun(&self, index: u64, before: usize, came: usize) {
        if let Target::File(opened) = &self.target
            && came > 0
            && self.offer.size.is_some()
        {
            let bytes = &self.buffer[before..before + came];
            opened.file.keep_begun(index, before, bytes);
        }
    }
}
