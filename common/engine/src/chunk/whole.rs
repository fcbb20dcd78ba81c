//! The plain BLAKE3 of a whole file: what `b3sum` prints.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use super::rehash::chunk_len;
use super::sparse::SparseReader;
use crate::page_buffer::PageBuffer;
use lariat_wire::limits::CHUNK;
use lariat_wire::protocol::transfer::Hash;

/// No content has this hash: it stands for that of a file whose content the kernel generates.
pub(crate) const UNLIKE_ANY: Hash = [0; 32];

/// Hashes what an open file has from its position on, at most `most` bytes.
pub(crate) fn hash_rest(file: &File, most: u64) -> io::Result<Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file.take(most))?;
    Ok(hasher.finalize().into())
}

/// Hashes the first `size` bytes of a file, as long as `is_wanted`. A file that is shorter gives
/// [`io::ErrorKind::UnexpectedEof`].
pub(crate) fn hash(file: Arc<File>, size: u64, is_wanted: impl Fn() -> bool) -> io::Result<Hash> {
    let (mut file, mut buffer) = (SparseReader::new(file), PageBuffer::new(CHUNK));
    let mut hasher = blake3::Hasher::new();
    for index in 0..size.div_ceil(CHUNK as u64) {
        if !is_wanted() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let bytes = &mut buffer[..chunk_len(size, index)];
        file.read_exact_at(bytes, index * CHUNK as u64)?;
        hasher.update(bytes);
    }
    Ok(hasher.finalize().into())
}
