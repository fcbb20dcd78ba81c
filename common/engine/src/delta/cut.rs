//! Cuts an open file by content. A cut depends only on the bytes since the last one, so in two files the cuts of
//! equal parts coincide again soon after a difference.
//!
//! Both ends must cut alike: otherwise they still transfer correctly, but find nothing to copy. A test fixes the
//! cuts.

use std::fs::File;
use std::io;
use std::sync::Arc;

use fastcdc::v2020::{self, Normalization};

use super::{Params, Piece, Seed};
use crate::chunk::sparse::SparseReader;
use crate::page_buffer::PageBuffer;

/// Bytes that are read at once, at a multiple of this size, so that hashes of these bytes cover whole
/// subtrees. Together with the longest piece of most files they fit a core's second-level cache.
const BLOCK: usize = 256 * 1024;

/// Yields a file's pieces, in order. Memory is one block and one longest piece, whatever the size.
///
/// After an error it yields nothing more.
pub struct Cutter {
    file: SparseReader,
    scan: Scan,
    /// The offset of the next read.
    unread: u64,
    size: u64,
    buffer: PageBuffer,
    /// The part of the buffer that was read and is not cut.
    start: usize,
    end: usize,
}

impl Cutter {
    /// Cuts the first `size` bytes of `file`. A shorter file gives
    /// [`io::ErrorKind::UnexpectedEof`].
    pub fn new(file: Arc<File>, size: u64, params: Params, seed: Seed) -> Self {
        let room = params.max() + BLOCK;
        let room = usize::try_from(size).map_or(room, |size| room.min(size));
        let buffer = PageBuffer::new(room);
        let (file, scan) = (SparseReader::new(file), Scan::new(params, seed));
        Self { file, scan, unread: 0, size, buffer, start: 0, end: 0 }
    }

    /// Reads more, unless the buffer has a longest piece or the rest of the file. Returns what was read, so that
    /// the caller sees every byte of the file once.
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

    /// The next piece of what was read, or `None` after the last one. If the bytes match the `likely` piece, no
    /// cut is searched.
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

/// Decides where bytes are cut. No I/O.
struct Scan {
    params: Params,
    seed: Seed,
    /// Masks for rare cuts below the average length and frequent ones above it, so that lengths are near it.
    masks: (u64, u64),
    /// The longest piece of zeros, once one was seen. Holes of sparse files need not be scanned or hashed.
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

    /// The first piece of `bytes`, which are the rest of the file or at least as long as a longest piece.
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

/// Whether all bytes are zero: compares the bytes with themselves shifted by one, which is as fast as memory and
/// ends at the first difference.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0) && bytes[1..] == bytes[..bytes.len() - 1]
}
