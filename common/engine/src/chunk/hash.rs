//! Hashes of chunks that rested on a disk.
//!
//! A chunk is a subtree of the file's BLAKE3 tree (section 2.1 of the BLAKE3 paper), because its
//! length is a power of two of at least 1 KiB; its hash is the subtree's chaining value.

use blake3::hazmat::HasherExt;

use lariat_wire::limits::CHUNK;
use lariat_wire::protocol::transfer::Hash;

/// The most chunks of one file, 8 TiB: 33 bytes are kept in memory for each.
pub(crate) const MAX_CHUNKS: usize = 16 * 1024 * 1024;

/// The hash of chunk `index`, which has [`CHUNK`] bytes, or fewer if it is the last one.
pub(crate) fn chunk(index: u64, bytes: &[u8]) -> Hash {
    hasher(index, bytes).finalize_non_root()
}

/// Hashes a file's chunks from its bytes in order.
#[derive(Default)]
pub(crate) struct Chunks {
    index: u64,
    /// The current chunk, and how many of its bytes were hashed.
    under_way: Option<(blake3::Hasher, usize)>,
}

impl Chunks {
    /// Hashes the file's next bytes. `done` gets the chunks that they complete.
    pub(crate) fn update<E>(
        &mut self,
        mut bytes: &[u8],
        mut done: impl FnMut(u64, Hash) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            let (mut hasher, passed) =
                self.under_way.take().unwrap_or_else(|| (hasher(self.index, &[]), 0));
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - passed));
            hasher.update(now);
            self.under_way = Some((hasher, passed + now.len()));
            if passed + now.len() == CHUNK {
                self.finish(&mut done)?;
            }
            bytes = later;
        }
        Ok(())
    }

    /// Ends the file, whose last chunk may be shorter.
    pub(crate) fn finish<E>(
        &mut self,
        mut done: impl FnMut(u64, Hash) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some((hasher, _)) = self.under_way.take() else { return Ok(()) };
        self.index += 1;
        done(self.index - 1, hasher.finalize_non_root())
    }
}

fn hasher(index: u64, bytes: &[u8]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(index * CHUNK as u64);
    hasher.update(bytes);
    hasher
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passing_chunks_have_the_same_hashes() {
        let bytes: Vec<u8> = (0..3 * CHUNK + 7).map(|i| (i % 251).to_le_bytes()[0]).collect();
        for (size, part) in [(bytes.len(), 1000), (2 * CHUNK, CHUNK / 2), (2 * CHUNK, 3 * CHUNK)] {
            let bytes = &bytes[..size];
            let (mut chunks, mut hashes) = (Chunks::default(), Vec::new());
            let mut done = |index, hash| {
                hashes.push((index, hash));
                Ok::<_, ()>(())
            };
            bytes.chunks(part).for_each(|part| chunks.update(part, &mut done).unwrap());
            chunks.finish(&mut done).unwrap();
            let expected: Vec<(u64, Hash)> =
                (0..).zip(bytes.chunks(CHUNK)).map(|(i, bytes)| (i, chunk(i, bytes))).collect();
            assert!(hashes == expected, "{size} bytes in parts of {part}");
        }
    }
}
