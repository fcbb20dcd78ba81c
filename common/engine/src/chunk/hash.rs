//! Chunk hashes and the file's own BLAKE3 from one pass.
//!
//! A chunk is a subtree of the file's BLAKE3 tree (section 2.1 of the BLAKE3 paper), because its
//! length is a power of two of at least 1 KiB; its hash is the subtree's chaining value. The file's
//! hash is made from the chunks' without reading a byte again, and is what `b3sum` prints.

use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

use lariat_wire::limits::CHUNK;
use lariat_wire::protocol::transfer::Hash;

/// The most chunks of one file, 8 TiB: 33 bytes are kept in memory for each.
pub const MAX_CHUNKS: usize = 16 * 1024 * 1024;

/// The hash of an empty file.
pub fn empty() -> Hash {
    blake3::hash(b"").into()
}

/// The hash of chunk `index`, which has [`CHUNK`] bytes, or fewer if it is the last one.
pub fn chunk(index: u64, bytes: &[u8]) -> Hash {
    hasher(index, bytes).finalize_non_root()
}

/// The hash of the first chunk, and the file's hash if it has no other.
pub fn first_chunk(bytes: &[u8]) -> (Hash, Hash) {
    let hasher = hasher(0, bytes);
    (hasher.finalize_non_root(), hasher.finalize().into())
}

/// The hash of chunk `index`, and for the first one the file's hash if it has no other chunk.
pub fn of(index: u64, bytes: &[u8]) -> (Hash, Option<Hash>) {
    if index == 0 {
        let (hash, only) = first_chunk(bytes);
        return (hash, Some(only));
    }
    (chunk(index, bytes), None)
}

/// The file's hash from its chunks' hashes. A file of one chunk has no subtrees: its hash is `only`, from
/// [`first_chunk`].
pub fn file(chunks: &[Hash], only: Hash) -> Hash {
    match chunks {
        [] => empty(),
        [_] => only,
        _ => {
            let (left, right) = split(chunks);
            merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash).into()
        }
    }
}

/// Hashes a file's chunks from its bytes in order.
#[derive(Default)]
pub struct Chunks {
    index: u64,
    /// The current chunk, and how many of its bytes were hashed.
    under_way: Option<(blake3::Hasher, usize)>,
}

impl Chunks {
    /// Hashes the file's next bytes. `done` gets the chunks that they complete.
    pub fn update<E>(
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
    pub fn finish<E>(&mut self, mut done: impl FnMut(u64, Hash) -> Result<(), E>) -> Result<(), E> {
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

fn subtree(chunks: &[Hash]) -> Hash {
    if let [one] = chunks {
        return *one;
    }
    let (left, right) = split(chunks);
    merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
}

/// The left part has the largest power of two of chunks that leaves something for the right.
fn split(chunks: &[Hash]) -> (&[Hash], &[Hash]) {
    chunks.split_at(chunks.len().next_power_of_two() / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_hash_is_what_b3sum_prints() {
        let sizes = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5, 7 * CHUNK];
        for size in sizes {
            let bytes: Vec<u8> = (0..size).map(|i| (i % 251).to_le_bytes()[0]).collect();
            let chunks: Vec<Hash> =
                bytes.chunks(CHUNK).zip(0..).map(|(bytes, index)| chunk(index, bytes)).collect();
            let whole: Hash = blake3::hash(&bytes).into();
            if let Some(&chunk) = chunks.first() {
                let (first, only) = first_chunk(&bytes[..size.min(CHUNK)]);
                assert_eq!(first, chunk);
                assert_eq!(file(&chunks, only), whole, "{size} bytes");
            } else {
                assert_eq!(file(&chunks, [0; 32]), whole);
            }
        }
    }

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
