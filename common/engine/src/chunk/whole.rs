//! The plain BLAKE3 of a whole file: what `b3sum` prints.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::rehash::chunk_len;
use super::sparse::SparseReader;
use lariat_wire::limits::CHUNK;
use lariat_wire::protocol::transfer::Hash;

/// Hashes the first `size` bytes of a file, as long as `is_wanted`. A file that is shorter gives
/// [`io::ErrorKind::UnexpectedEof`].
pub(crate) fn hash(file: Arc<File>, size: u64, is_wanted: impl Fn() -> bool) -> io::Result<Hash> {
    let (mut file, mut buffer) = (SparseReader::new(file), vec![0; CHUNK]);
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
