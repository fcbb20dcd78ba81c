//! The file that a stream's tail is in, and where in it a byte lies: in memory or on disk, of fixed
//! size, written by the supervisor and read by the agent.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{FallocateFlags, MemfdFlags, Mode, OFlags};
use rustix::io::Errno;

use super::ring::piece;
use super::stream::Stream;

/// The agent's side of a stream's tail.
pub(super) struct SpoolReader {
    file: OwnedFd,
    capacity: u64,
}

impl SpoolReader {
    /// Reads a tail in a file of this size.
    pub(super) fn new(file: OwnedFd, capacity: u64) -> Option<Self> {
        (capacity > 0).then_some(Self { file, capacity })
    }

    /// Reads bytes from offset `from` on, none at or behind `upto`; fewer than there are when the file
    /// wraps or the buffer is full. All of them must have been written and not acknowledged.
    pub(super) fn read(&self, from: u64, upto: u64, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(read_at(&self.file, self.capacity, from, upto, buffer)?)
    }
}

/// A file in memory, which takes room as it is written.
pub(super) fn memory(stream: Stream) -> Result<OwnedFd, Errno> {
    rustix::fs::memfd_create(stream.name(), MemfdFlags::CLOEXEC)
}

/// A file on disk that has its room from the beginning, where the file system can do that.
pub(super) fn disk(stream: Stream, directory: BorrowedFd<'_>, size: u64) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(directory, stream.name(), flags, Mode::RUSR | Mode::WUSR)?;
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, size) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(file),
        Err(error) => {
            let _ = rustix::fs::unlinkat(directory, stream.name(), rustix::fs::AtFlags::empty());
            Err(error)
        }
    }
}

/// Reads what lies in one piece of the bytes from one offset up to another.
pub(super) fn read_at(
    file: &OwnedFd,
    capacity: u64,
    from: u64,
    upto: u64,
    buffer: &mut [u8],
) -> Result<usize, Errno> {
    let piece = piece(capacity, from, upto);
    let len = usize::try_from(piece.len).unwrap_or(usize::MAX).min(buffer.len());
    if len == 0 {
        return Ok(0);
    }
    match rustix::io::pread(file, &mut buffer[..len], piece.position)? {
        // The file is shorter than its ring says: somebody else has cut it.
        0 => Err(Errno::IO),
        read => Ok(read),
    }
}

/// Writes bytes at an offset, round the end of the file where they reach it.
pub(super) fn write_at(
    file: &OwnedFd,
    capacity: u64,
    from: u64,
    mut bytes: &[u8],
) -> Result<(), Errno> {
    let mut offset = from;
    while !bytes.is_empty() {
        let piece = piece(capacity, offset, offset + bytes.len() as u64);
        let len = usize::try_from(piece.len).unwrap_or(usize::MAX).min(bytes.len());
        let written = rustix::io::pwrite(file, &bytes[..len], piece.position)?;
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}
