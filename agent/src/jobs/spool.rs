//! The unacknowledged tail of one output stream: in memory while it is small, then on disk.
//!
//! The supervisor fills it from the command's pipe; the agent reads the same file, whose descriptor it
//! is given. It starts as an anonymous file of [`MEMORY`] bytes, made when the first byte comes. When
//! that stays full of what nobody acknowledged yet, the tail moves to a file of [`DISK`] bytes in the
//! job's directory; a reader that keeps up never makes it, and memory is twice as fast. When there is no
//! room on disk it stays where it is: a command runs on a full disk, only with less ahead.
//!
//! Invariant: a byte is kept until it is acknowledged, and nothing grows: a pipe whose spool is full
//! is not read.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::SpliceFlags;

use super::ring::Ring;
use super::spool_file::{disk, memory, read_at, write_at};
use super::stream::Stream;

/// Bytes of a stream's tail that are kept in memory.
pub(super) const MEMORY: u64 = 1024 * 1024;

/// Bytes of a stream's tail that are kept on disk once memory is full: what a command may be ahead of
/// its reader.
pub(super) const DISK: u64 = 4 * 1024 * 1024;

/// A pipe that was found this full, in bytes, is worth a larger one: fewer turns for the same bytes.
const BUSY_PIPE: u64 = 64 * 1024;

/// Size of a busy pipe, in bytes.
const LARGE_PIPE: usize = 256 * 1024;

/// Bytes copied at once when a tail moves.
const COPY: usize = 16 * 1024;

/// What came of reading the pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// This many bytes came.
    Bytes(u64),
    /// Nothing is there now.
    Nothing,
    /// There is no room.
    Full,
    /// Nothing will ever come again.
    End,
}

/// The supervisor's side of a stream's tail.
pub(super) struct Spool {
    stream: Stream,
    ring: Ring,
    file: Option<OwnedFd>,
    /// Counts the files that the tail has been in, so that the agent is told of each.
    moves: u32,
    place: Place,
    /// Whether the pipe was made larger.
    widened: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Memory,
    Disk,
    /// The disk failed: it is not tried again.
    MemoryForGood,
}

impl Spool {
    /// An empty tail.
    pub(super) fn new(stream: Stream) -> Self {
        let (ring, place) = (Ring::new(MEMORY), Place::Memory);
        Self { stream, ring, file: None, moves: 0, place, widened: false }
    }

    /// An empty tail that stays in memory: nobody wants to see more of a terminal that is far behind.
    pub(super) fn in_memory(stream: Stream) -> Self {
        Self { place: Place::MemoryForGood, ..Self::new(stream) }
    }

    /// Offset behind the last byte.
    pub(super) fn end(&self) -> u64 {
        self.ring.end()
    }

    /// Offset of the first byte that is kept.
    pub(super) fn acked(&self) -> u64 {
        self.ring.acked()
    }

    /// Size of the file that the tail is in.
    pub(super) fn capacity(&self) -> u64 {
        self.ring.capacity()
    }

    /// The file that the tail is in and how often it has moved; none before the first byte.
    pub(super) fn file(&self) -> Option<(BorrowedFd<'_>, u32)> {
        self.file.as_ref().map(|file| (file.as_fd(), self.moves))
    }

    /// Copies the tail into a segment of its own in `directory`, where [`super::log_reader`] finds it. One that
    /// is not whole is removed.
    pub(super) fn keep(&self, directory: BorrowedFd<'_>) -> io::Result<()> {
        let (mut at, end) = (self.acked(), self.end());
        let Some(file) = self.file.as_ref().filter(|_| at < end) else { return Ok(()) };
        let name = self.stream.segment(at);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let segment = rustix::fs::openat(directory, &name, flags, Mode::RUSR | Mode::WUSR)?;
        let mut segment = File::from(segment);
        let mut copy = || {
            let mut buffer = [0; COPY];
            while at < end {
                let len = read_at(file, self.capacity(), at, end, &mut buffer)?;
                segment.write_all(&buffer[..len])?;
                at += len as u64;
            }
            io::Result::Ok(())
        };
        copy().inspect_err(|_| {
            let _ = rustix::fs::unlinkat(directory, &name, AtFlags::empty());
        })
    }

    /// Everything before `upto` may be forgotten. `false` when it never came.
    pub(super) fn ack(&mut self, upto: u64) -> bool {
        self.ring.ack(upto)
    }

    /// Whether there is room for more.
    pub(super) fn has_room(&self) -> bool {
        self.ring.writable().len > 0
    }

    /// Whether more room can be had on disk.
    pub(super) fn can_grow(&self) -> bool {
        self.place == Place::Memory
    }

    /// Takes what the pipe has, up to the end of the room in one piece; a full tail moves to disk.
    pub(super) fn fill(
        &mut self,
        pipe: BorrowedFd<'_>,
        directory: BorrowedFd<'_>,
    ) -> io::Result<Filled> {
        self.fill_by(Self::splice, pipe, directory)
    }

    /// Takes what a terminal has, as [`Self::fill`] does from a pipe; a terminal can't be spliced.
    pub(super) fn fill_from_terminal(
        &mut self,
        terminal: BorrowedFd<'_>,
        directory: BorrowedFd<'_>,
    ) -> io::Result<Filled> {
        self.fill_by(Self::copy, terminal, directory)
    }

    fn fill_by(
        &mut self,
        take: impl Fn(&Self, BorrowedFd<'_>) -> Result<u64, Errno>,
        pipe: BorrowedFd<'_>,
        directory: BorrowedFd<'_>,
    ) -> io::Result<Filled> {
        if !self.has_room() && !self.grow(directory) {
            return Ok(Filled::Full);
        }
        if self.file.is_none() {
            self.file = Some(memory(self.stream)?);
            self.moves += 1;
        }
        match take(self, pipe) {
            Err(Errno::AGAIN | Errno::INTR) => Ok(Filled::Nothing),
            Err(error) if self.place == Place::Disk => {
                // The disk failed under us; what is there is moved back to memory.
                self.move_to(memory(self.stream)?, DISK).map_err(|_| error)?;
                self.place = Place::MemoryForGood;
                Ok(Filled::Nothing)
            }
            Err(error) => Err(error.into()),
            Ok(0) => Ok(Filled::End),
            Ok(len) => {
                self.ring.wrote(len);
                if len >= BUSY_PIPE && !self.widened {
                    self.widened = true;
                    let _ = rustix::pipe::fcntl_setpipe_size(pipe, LARGE_PIPE);
                }
                Ok(Filled::Bytes(len))
            }
        }
    }

    fn splice(&self, pipe: BorrowedFd<'_>) -> Result<u64, Errno> {
        let file = self.file.as_ref().ok_or(Errno::BADF)?;
        let into = self.ring.writable();
        let len = usize::try_from(into.len).map_err(|_| Errno::OVERFLOW)?;
        let mut position = into.position;
        let moved = rustix::pipe::splice(
            pipe,
            None,
            file,
            Some(&mut position),
            len,
            SpliceFlags::NONBLOCK,
        )?;
        Ok(moved as u64)
    }

    fn copy(&self, terminal: BorrowedFd<'_>) -> Result<u64, Errno> {
        let file = self.file.as_ref().ok_or(Errno::BADF)?;
        let room = usize::try_from(self.ring.writable().len).unwrap_or(usize::MAX);
        let mut buffer = [0; COPY];
        let len = match rustix::io::read(terminal, &mut buffer[..room.min(COPY)]) {
            // Nobody has its other end open any more.
            Err(Errno::IO) => 0,
            read => read?,
        };
        write_at(file, self.ring.capacity(), self.ring.end(), &buffer[..len])?;
        Ok(len as u64)
    }

    /// Moves a full tail from memory to disk. `false` when that is not to be had.
    fn grow(&mut self, directory: BorrowedFd<'_>) -> bool {
        if self.place != Place::Memory {
            return false;
        }
        let moved = disk(self.stream, directory, DISK).and_then(|file| self.move_to(file, DISK));
        self.place = if moved.is_ok() { Place::Disk } else { Place::MemoryForGood };
        moved.is_ok()
    }

    fn move_to(&mut self, file: OwnedFd, capacity: u64) -> Result<(), Errno> {
        let ring = self.ring.resized(capacity).ok_or(Errno::NOSPC)?;
        if let Some(old) = &self.file {
            let mut offset = ring.acked();
            let mut buffer = [0; COPY];
            while offset < ring.end() {
                let len = read_at(old, self.ring.capacity(), offset, ring.end(), &mut buffer)?;
                write_at(&file, capacity, offset, &buffer[..len])?;
                offset += len as u64;
            }
        }
        self.file = Some(file);
        self.ring = ring;
        self.moves += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::spool_file::SpoolReader;
    use super::*;

    fn directory() -> (tempfile::TempDir, OwnedFd) {
        let dir = tempfile::tempdir().unwrap();
        let fd = File::open(dir.path()).unwrap().into();
        (dir, fd)
    }

    fn reader(spool: &Spool) -> SpoolReader {
        let (file, _) = spool.file().unwrap();
        SpoolReader::new(file.try_clone_to_owned().unwrap(), spool.capacity()).unwrap()
    }

    /// A byte that tells its offset.
    fn at(offset: u64) -> u8 {
        (offset % 251).to_le_bytes()[0]
    }

    /// Writes to the pipe and fills the spool until it is full.
    fn fill_up(spool: &mut Spool, directory: &OwnedFd) {
        let (read, mut write) = io::pipe().unwrap();
        loop {
            let bytes: Vec<u8> = (spool.end()..spool.end() + 4096).map(at).collect();
            write.write_all(&bytes).unwrap();
            while spool.fill(read.as_fd(), directory.as_fd()).unwrap() == Filled::Nothing {}
            if !spool.has_room() && !spool.can_grow() {
                assert_eq!(spool.fill(read.as_fd(), directory.as_fd()).unwrap(), Filled::Full);
                return;
            }
        }
    }

    fn check(spool: &Spool, from: u64) {
        let (reader, mut offset, mut buffer) = (reader(spool), from, vec![0; 100_000]);
        while offset < spool.end() {
            let len = reader.read(offset, spool.end(), &mut buffer).unwrap();
            for byte in &buffer[..len] {
                assert_eq!(*byte, at(offset));
                offset += 1;
            }
        }
    }

    #[test]
    fn a_silent_stream_makes_no_file_and_an_empty_one_ends() {
        let (dir, directory) = directory();
        let mut spool = Spool::new(Stream::Stdout);
        assert!(spool.file().is_none());
        let (read, write) = io::pipe().unwrap();
        assert_eq!(spool.fill(read.as_fd(), directory.as_fd()).unwrap(), Filled::Nothing);
        drop(write);
        assert_eq!(spool.fill(read.as_fd(), directory.as_fd()).unwrap(), Filled::End);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_full_tail_moves_to_disk_and_goes_round() {
        let (dir, directory) = directory();
        let mut spool = Spool::new(Stream::Stderr);
        fill_up(&mut spool, &directory);
        assert_eq!((spool.end(), spool.capacity()), (DISK, DISK));
        assert_eq!(dir.path().join("stderr").metadata().unwrap().len(), DISK);
        check(&spool, 0);
        assert!(spool.ack(DISK / 2 + 1));
        fill_up(&mut spool, &directory);
        assert_eq!(spool.end(), DISK + DISK / 2 + 1);
        check(&spool, DISK / 2 + 1);
    }

    #[test]
    fn without_a_disk_it_stays_in_memory() {
        let (dir, directory) = directory();
        std::fs::write(dir.path().join("stdout"), b"in the way").unwrap();
        let mut spool = Spool::new(Stream::Stdout);
        fill_up(&mut spool, &directory);
        assert_eq!((spool.end(), spool.capacity()), (MEMORY, MEMORY));
        check(&spool, 0);
        assert!(spool.ack(MEMORY));
        fill_up(&mut spool, &directory);
        check(&spool, MEMORY);
    }
}
