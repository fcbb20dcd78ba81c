//! Taking one chunk: a whole one, the rest of one that had begun to come, or what of it came before a cut.

use tokio::io::{AsyncRead, ReadHalf};

use super::Target;
use super::receiving::{Chunk, Receiver};
use crate::error::TransferError;
use crate::hash;
use crate::rehash::chunk_len;
use lariat_wire::limits::CHUNK;
use lariat_wire::link::{Frame, Outbox, Reader};
use lariat_wire::protocol::failure::{Action, Cause};
use lariat_wire::protocol::transfer::{ChunkHead, Encoding};

impl Receiver<'_> {
    /// Takes a chunk, or the rest of one that had begun to come.
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
        let (fresh, begun) = match self.chunks.get(index) {
            // One of a file that is being rebuilt could meet itself on its way to the disk.
            Some(Chunk::Missing) if self.rebuild.is_none() => (true, 0),
            Some(Chunk::Hashed(_)) if self.rebuild.is_none() => (false, 0),
            Some(&Chunk::Begun(len)) => (false, len),
            _ => return Err(TransferError::misbehaved("it sent a chunk that nobody asked for")),
        };
        let body = frame.len - ChunkHead::LEN;
        let len = match self.offer.size {
            Some(size) => chunk_len(size, head.index),
            // Of a stream only the last chunk is shorter; what it is comes with its first byte.
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
        if let Target::File(opened) = &self.target {
            opened.partial.body().read_begun(head.index, &mut self.buffer[..begun]);
        }
        let bytes = &self.buffer[..len];
        let hash = if index == 0 {
            let (hash, only) = hash::first_chunk(bytes);
            self.only = only;
            hash
        } else {
            hash::chunk(head.index, bytes)
        };
        if hash != head.hash && begun == 0 {
            return Err(self.failure(Action::Verify, Cause::Mismatch).into());
        }
        self.chunks[index] = Chunk::Sent(hash);
        match &mut self.target {
            Target::File(opened) => {
                opened.partial.has_own(head.index * CHUNK as u64);
                opened.partial.body().write(head.index, bytes, fresh, self.offer.sparse)?;
            }
            Target::Stream(stream) => {
                if !stream.write(bytes.to_vec()).await {
                    return Err(self.failure(Action::Write, Cause::Internal).into());
                }
            }
        }
        self.moved(len - begun, body);
        if begun > 0 {
            // Its beginning is compared like all that a broken attempt left.
            self.certain(head.index, hash, outbox)?;
            self.tell(outbox)?;
        }
        Ok(())
    }

    /// The link was cut while a chunk was rebuilt: what there is of it is kept likewise.
    pub(super) fn keep_rebuilt(&mut self) {
        let Some(rebuild) = self.rebuild.take() else { return };
        if let (Some((index, bytes)), Target::File(opened)) = (rebuild.begun(), &self.target) {
            opened.partial.keep_begun(index, 0, &bytes);
        }
    }

    /// The link was cut in a chunk: what came of it is not sent again.
    fn keep_begun(&self, index: u64, before: usize, came: usize) {
        if let Target::File(opened) = &self.target
            && came > 0
            && self.offer.size.is_some()
        {
            let bytes = &self.buffer[before..before + came];
            opened.partial.keep_begun(index, before, bytes);
        }
    }
}
