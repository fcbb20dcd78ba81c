//! Hashing chunks that are already there, on a thread beside the one that moves the new ones.

use std::fs::File;
use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::hash;
use super::reconcile::indices;
use super::sparse::Holed;
use lariat_wire::limits::CHUNK;
use lariat_wire::protocol::transfer::{Hash, Range};

/// Hashes that wait to be taken, 48 bytes each: those of 32 GiB, so that the thread can be done before
/// anybody has time for them.
const AHEAD: usize = 64 * 1024;

/// A chunk's index, and its hash unless it could not be read.
pub(super) type Rehashed = (u64, io::Result<Hash>);

/// Starts to hash the chunks of `ranges` in a file of `size` bytes, in order. The thread ends early
/// when the receiver is dropped.
pub(super) fn start(
    file: Arc<File>,
    size: u64,
    ranges: Vec<Range>,
) -> io::Result<mpsc::Receiver<Rehashed>> {
    let (results, taken) = mpsc::channel(AHEAD);
    if ranges.is_empty() {
        return Ok(taken);
    }
    std::thread::Builder::new().name("rehash".to_owned()).spawn(move || {
        let (mut file, mut buffer) = (Holed::new(file), vec![0; CHUNK]);
        for index in indices(&ranges) {
            let hash = read_chunk(&mut file, size, index, &mut buffer)
                .map(|bytes| hash::chunk(index, bytes));
            if results.blocking_send((index, hash)).is_err() {
                return;
            }
        }
    })?;
    Ok(taken)
}

/// Length in bytes of chunk `index` in a file of `size` bytes.
pub(super) fn chunk_len(size: u64, index: u64) -> usize {
    let left = size.saturating_sub(index.saturating_mul(CHUNK as u64));
    usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK))
}

/// Reads chunk `index` of a file of `size` bytes; one that ends before it should is an
/// [`io::ErrorKind::UnexpectedEof`].
pub(super) fn read_chunk<'a>(
    file: &mut Holed,
    size: u64,
    index: u64,
    buffer: &'a mut [u8],
) -> io::Result<&'a [u8]> {
    let bytes = &mut buffer[..chunk_len(size, index)];
    file.read_exact_at(bytes, index * CHUNK as u64)?;
    Ok(bytes)
}
