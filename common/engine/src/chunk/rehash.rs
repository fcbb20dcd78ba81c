//! Hashes existing chunks on a separate thread, while new ones are transferred.

use std::fs::File;
use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::hash;
use super::reconcile::indices;
use super::sparse::SparseReader;
use crate::page_buffer::PageBuffer;
use lariat_wire::limits::CHUNK;
use lariat_wire::protocol::transfer::{Hash, Range};

/// The most hashes that are buffered, 48 bytes each: those of 32 GiB. The thread can finish before the hashes
/// are used.
const AHEAD: usize = 64 * 1024;

/// A chunk's index, and what its bytes give or the error of reading it.
pub(crate) type Read<T> = (u64, io::Result<T>);

/// A chunk's index, and its hash or the error of reading it.
pub(crate) type Rehashed = Read<Hash>;

/// Starts to hash the chunks of `ranges` in a file of `size` bytes, in order.
pub(crate) fn start(
    file: Arc<File>,
    size: u64,
    ranges: Vec<Range>,
) -> io::Result<mpsc::Receiver<Rehashed>> {
    each(file, size, ranges, hash::chunk)
}

/// Starts to read the chunks of `ranges` in a file of `size` bytes, in order, and does `work` with each. The
/// thread ends early if the receiver is dropped.
pub(crate) fn each<T: Send + 'static>(
    file: Arc<File>,
    size: u64,
    ranges: Vec<Range>,
    work: impl Fn(u64, &[u8]) -> T + Send + 'static,
) -> io::Result<mpsc::Receiver<Read<T>>> {
    let (results, taken) = mpsc::channel(AHEAD);
    if ranges.is_empty() {
        return Ok(taken);
    }
    std::thread::Builder::new().name("rehash".to_owned()).spawn(move || {
        let (mut file, mut buffer) = (SparseReader::new(file), PageBuffer::new(CHUNK));
        for index in indices(&ranges) {
            let read = read_chunk(&mut file, size, index, &mut buffer);
            let done = read.map(|bytes| work(index, bytes));
            if results.blocking_send((index, done)).is_err() {
                return;
            }
        }
    })?;
    Ok(taken)
}

/// The length in bytes of chunk `index` in a file of `size` bytes.
pub(crate) fn chunk_len(size: u64, index: u64) -> usize {
    let left = size.saturating_sub(index.saturating_mul(CHUNK as u64));
    usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK))
}

/// Reads chunk `index` of a file of `size` bytes. A file that is shorter gives
/// [`io::ErrorKind::UnexpectedEof`].
fn read_chunk<'a>(
    file: &mut SparseReader,
    size: u64,
    index: u64,
    buffer: &'a mut [u8],
) -> io::Result<&'a [u8]> {
    let bytes = &mut buffer[..chunk_len(size, index)];
    file.read_exact_at(bytes, index * CHUNK as u64)?;
    Ok(bytes)
}
