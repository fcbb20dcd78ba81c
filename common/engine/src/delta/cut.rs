//! Cuts an open file by content. Where it cuts depends only on the bytes since the last cut, so the
//! cuts in equal stretches of two files fall in step again soon after a difference.
//!
//! The cuts are part of what both ends agree on: ends that cut differently still transfer correctly,
//! but find nothing to copy. A test holds them in place.

use std::fs::File;
use std::io;
use std::sync::Arc;

use fastcdc::v2020::{self, Normalization};

use super::{Params, Piece, Seed};
use crate::chunk::sparse::SparseReader;

/// Bytes that are read at once, from a multiple of it on, so that whoever hashes them too takes whole
/// subtrees. With the longest piece of most files they stay in a core's second-level cache.
const BLOCK: usize = 256 * 1024;

/// Yields a file's pieces, in order. Memory is one block and one longest piece, whatever the size.
///
/// After an error it yields nothing more.
pub struct Cutter {
    file: SparseReader,
    scan: Scan,
    /// Bytes of the file from here on are not read yet.
    unread: u64,
    size: u64,
    buffer: Vec<u8>,
    /// What of the buffer is read and not yet cut.
    start: usize,
    end: usize,
}

impl Cutter {
    /// Cuts the first `size` bytes of `file`. One that ends before that is an
    /// [`io::ErrorKind::UnexpectedEof`].
    pub fn new(file: Arc<File>, size: u64, params: Params, seed: Seed) -> Self {
        let room = params.max() + BLOCK;
        let room = usize::try_from(size).map_or(room, |size| room.min(size));
        let buffer = vec![0; room];
        let (file, scan) = (SparseReader::new(file), Scan::new(params, seed));
        Self { file, scan, unread: 0, size, buffer, start: 0, end: 0 }
    }

    /// Reads on, unless a longest piece or the rest of the file is there. What was read is given to
    /// whoever wants to see every byte of the file once.
    pub fn fill(&mut self) -> io::Result<&[u8]> {
        if self.unread == self.size || self.end - self.start >= self.scan.params.max() {
            return Ok(&[]);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let space = &mut self.buffer[self.end..];
        let left = usize::try_from(self.size - self.unread).unwrap_or(usize::MAX);
        let len = if left <= space.len() { left } else { space.len() / BLOCK * BLOCK };
        let read = self.file.read_exact_at(&mut space[..len], self.unread);
        if read.is_err() {
            self.unread = self.size;
            self.end = self.start;
        }
        read?;
        self.unread += len as u64;
        self.end += len;
        Ok(&self.buffer[self.end - len..self.end])
    }

    /// The next piece of what was read; no cut is looked for if it is the one that is likely. The
    /// file's last piece is the one after which there is none.
    pub fn cut(&mut self, likely: Option<Piece>) -> Option<Piece> {
        let bytes = &self.buffer[self.start..self.end];
        let likely = likely.filter(|piece| self.scan.begins_with(bytes, *piece));
        let piece = likely.or_else(|| self.scan.first(bytes))?;
        self.start += piece.len as usize;
        Some(piece)
    }
}

impl Iterator for Cutter {
    type Item = io::Result<Piece>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.fill() {
            Ok(_) => self.cut(None).map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Where bytes are cut, without I/O.
struct Scan {
    params: Params,
    seed: Seed,
    /// Rare and frequent cuts, before and after the average length: lengths gather around it.
    masks: (u64, u64),
    /// The piece that the longest stretch of zeros is, once one was seen: holes of sparse files
    /// need neither be scanned nor hashed.
    zeros: Option<Piece>,
}

impl Scan {
    fn new(params: Params, seed: Seed) -> Self {
        let masks = v2020::select_masks(params.average(), Normalization::Level1);
        Self { params, seed, masks, zeros: None }
    }

    fn begins_with(&self, bytes: &[u8], piece: Piece) -> bool {
        let bytes = bytes.get(..piece.len as usize);
        bytes.is_some_and(|bytes| self.seed.hash(bytes) == piece.hash)
    }

    /// The first piece of `bytes`, which are the rest of the file or at least a longest piece.
    fn first(&mut self, bytes: &[u8]) -> Option<Piece> {
        if bytes.is_empty() {
            return None;
        }
        let longest = bytes.get(..self.params.max());
        let zero = longest.is_some_and(is_zero);
        if let (true, Some(zeros)) = (zero, self.zeros) {
            return Some(zeros);
        }
        let len = self.cut(bytes);
        let piece = Piece {
            hash: self.seed.hash(&bytes[..len]),
            len: u32::try_from(len).expect("the longest piece of any parameters is 32 MiB"),
        };
        if zero {
            self.zeros = Some(piece);
        }
        Some(piece)
    }

    fn cut(&self, bytes: &[u8]) -> usize {
        let (min, average, max) = (self.params.min(), self.params.average(), self.params.max());
        let (rare, frequent) = self.masks;
        let (_, len) =
            v2020::cut(bytes, min, average, max, rare, frequent, rare << 1, frequent << 1);
        len
    }
}

/// Compares the bytes with themselves, one further on: at the speed of memory, and at the first byte
/// done with nearly all that is not zero.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0) && bytes[1..] == bytes[..bytes.len() - 1]
}
