//! The part of a stream that some readers have not read: its newest bytes in memory, older ones in an unnamed
//! file if a slow reader needs them.
//!
//! Invariant: memory holds at most [`MEMORY`] bytes and the file [`LIMIT`]; a byte is kept until every
//! remaining reader has read it.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tokio::io::ReadBuf;

/// Most bytes in memory.
pub(super) const MEMORY: usize = 1024 * 1024;

/// Bytes that move to the file at once.
const BLOCK: usize = 256 * 1024;

/// Most bytes in the file.
const LIMIT: u64 = 1024 * 1024 * 1024;

/// The file's directory: `/tmp` may be in memory.
const DIRECTORY: &str = "/var/tmp";

/// Whether more bytes can be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// This many bytes.
    Bytes(usize),
    /// No reader waits for more.
    Nobody,
    /// A reader waits for more, but there is no room until the slowest has read.
    HeldUp,
}

pub(super) struct Backlog {
    /// Offset of the first byte in memory.
    base: u64,
    bytes: VecDeque<u8>,
    /// The offset of each reader; `None` once it has ended.
    positions: Vec<Option<u64>>,
    /// Bytes before `base` that a reader needs; the one at offset `o` is at `o % limit`.
    file: Option<File>,
    limit: u64,
    /// The file can't be created or written.
    failed: bool,
}

impl Backlog {
    /// For this many readers.
    pub(super) fn new(readers: usize) -> Self {
        Self::with_limit(readers, LIMIT)
    }

    fn with_limit(readers: usize, limit: u64) -> Self {
        let (bytes, positions) = (VecDeque::new(), vec![Some(0); readers]);
        Self { base: 0, bytes, positions, file: None, limit, failed: false }
    }

    /// Whether more bytes can be added. Moves old bytes to the file if a reader waits for more.
    pub(super) fn room(&mut self) -> Room {
        if self.positions.iter().all(Option::is_none) {
            return Room::Nobody;
        }
        if self.bytes.len() == MEMORY {
            if !self.positions.contains(&Some(self.end())) {
                return Room::Nobody;
            }
            if !self.has_place() || self.failed {
                return Room::HeldUp;
            }
            if self.spill().is_err() {
                // For example the disk is full: then the slowest reader holds the others up.
                self.failed = true;
                return Room::HeldUp;
            }
        }
        Room::Bytes(MEMORY - self.bytes.len())
    }

    /// The readers that are furthest behind.
    pub(super) fn slowest(&self) -> Vec<usize> {
        let first = self.first();
        let numbers = self.positions.iter().enumerate();
        numbers.filter(|(_, at)| at.is_some_and(|at| at == first)).map(|(n, _)| n).collect()
    }

    /// Adds bytes, for which there must be room.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// Reads a reader's next bytes, and drops what every reader has read.
    pub(super) fn read(&mut self, number: usize, buffer: &mut ReadBuf<'_>) -> io::Result<usize> {
        let Some(position) = self.positions[number] else { return Ok(0) };
        let len = match self.base.checked_sub(position) {
            Some(before @ 1..) => self.read_file(position, before, buffer)?,
            _ => self.read_memory(position, buffer),
        };
        self.positions[number] = Some(position + len as u64);
        self.trim();
        Ok(len)
    }

    /// Removes a reader.
    pub(super) fn leave(&mut self, number: usize) {
        self.positions[number] = None;
        self.trim();
    }

    fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// Offset of the first byte that a reader needs.
    fn first(&self) -> u64 {
        self.positions.iter().flatten().min().copied().unwrap_or_else(|| self.end())
    }

    /// Whether the file has room for another block.
    fn has_place(&self) -> bool {
        self.base + BLOCK as u64 - self.first() <= self.limit
    }

    fn spill(&mut self) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None if Path::new(DIRECTORY).is_dir() => tempfile::tempfile_in(DIRECTORY)?,
            None => tempfile::tempfile()?,
        };
        let block: Vec<u8> = self.bytes.iter().take(BLOCK).copied().collect();
        let (mut at, mut left) = (self.base, &block[..]);
        while !left.is_empty() {
            let (now, rest) = left.split_at(self.piece(at, left.len()));
            file.write_all_at(now, at % self.limit)?;
            at += now.len() as u64;
            left = rest;
        }
        self.file = Some(file);
        self.bytes.drain(..block.len());
        self.base = at;
        Ok(())
    }

    /// How many of `len` bytes are contiguous in the file.
    fn piece(&self, at: u64, len: usize) -> usize {
        usize::try_from(self.limit - at % self.limit).map_or(len, |piece| piece.min(len))
    }

    fn read_file(&self, at: u64, len: u64, buffer: &mut ReadBuf<'_>) -> io::Result<usize> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(buffer.remaining());
        let len = self.piece(at, len);
        file.read_exact_at(buffer.initialize_unfilled_to(len), at % self.limit)?;
        buffer.advance(len);
        Ok(len)
    }

    fn read_memory(&self, position: u64, buffer: &mut ReadBuf<'_>) -> usize {
        let from = usize::try_from(position - self.base).expect("it is within the memory");
        let len = buffer.remaining().min(self.bytes.len() - from);
        let (front, back) = self.bytes.as_slices();
        let in_front = front.get(from..).unwrap_or_default();
        let of_front = &in_front[..len.min(in_front.len())];
        buffer.put_slice(of_front);
        let from = from.saturating_sub(front.len());
        buffer.put_slice(&back[from..][..len - of_front.len()]);
        len
    }

    /// Drops what no reader needs.
    fn trim(&mut self) {
        let first = self.first();
        if let Some(had) = first.checked_sub(self.base) {
            let had = usize::try_from(had).expect("it is within the memory");
            self.bytes.drain(..had);
            self.base = first;
            // No reader is behind.
            self.file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte that identifies its offset.
    fn at(offset: u64) -> u8 {
        (offset % 251).to_le_bytes()[0]
    }

    /// Adds as many bytes as there is room for.
    fn fill(backlog: &mut Backlog) -> Room {
        loop {
            match backlog.room() {
                Room::Bytes(len) => {
                    let end = backlog.end();
                    let bytes: Vec<u8> = (end..end + len as u64).map(at).collect();
                    backlog.add(&bytes);
                }
                other => return other,
            }
        }
    }

    /// Reads and checks all available bytes.
    fn read(backlog: &mut Backlog, number: usize) -> u64 {
        let (mut memory, mut all) = (vec![0; 100_000], 0);
        loop {
            let from = backlog.positions[number].unwrap();
            let mut buffer = ReadBuf::new(&mut memory);
            let len = backlog.read(number, &mut buffer).unwrap() as u64;
            if len == 0 {
                return all;
            }
            assert!(buffer.filled().iter().zip(from..).all(|(byte, offset)| *byte == at(offset)));
            all += len;
        }
    }

    #[test]
    fn a_slow_reader_holds_others_up_only_when_the_file_is_full() {
        let limit = 3 * BLOCK as u64 + 1000;
        let mut backlog = Backlog::with_limit(3, limit);
        backlog.leave(2);
        let mut had = 0;
        while fill(&mut backlog) == Room::Nobody {
            had += read(&mut backlog, 0);
        }
        assert_eq!(backlog.room(), Room::HeldUp);
        assert_eq!((had, backlog.slowest()), ((MEMORY + 3 * BLOCK) as u64, vec![1]));
        assert!(backlog.bytes.len() <= MEMORY);
        // Each small read makes room for as much, across the end of the file.
        for _ in 0..9 {
            let mut memory = vec![0; BLOCK];
            let before = backlog.positions[1].unwrap();
            let mut buffer = ReadBuf::new(&mut memory);
            backlog.read(1, &mut buffer).unwrap();
            assert!(buffer.filled().iter().zip(before..).all(|(byte, offset)| *byte == at(offset)));
            fill(&mut backlog);
            had += read(&mut backlog, 0);
        }
        read(&mut backlog, 1);
        assert_eq!(backlog.positions, [Some(had), Some(had), None]);
        assert!(backlog.file.is_none(), "nobody is behind any more");
    }

    #[test]
    fn unneeded_bytes_are_dropped() {
        let mut backlog = Backlog::new(2);
        assert_eq!(fill(&mut backlog), Room::Nobody, "all of them still have something to read");
        read(&mut backlog, 0);
        fill(&mut backlog);
        assert!(backlog.file.is_some());
        backlog.leave(1);
        assert!(backlog.file.is_none());
        read(&mut backlog, 0);
        assert!(backlog.bytes.is_empty());
        backlog.leave(0);
        assert_eq!(fill(&mut backlog), Room::Nobody);
    }
}
