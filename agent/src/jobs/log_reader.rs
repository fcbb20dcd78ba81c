//! Reads what a detached job has kept of a stream ([`super::log`]), while it is written and afterwards.
//!
//! Invariant: bytes come in order and each at its own offset; what is not kept is passed over.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, fstat};
use rustix::io::Errno;

use super::stream::Stream;

/// Bytes looked through at once for the ends of lines.
const BLOCK: u64 = 64 * 1024;

/// One stream of a job's log.
pub struct LogReader {
    directory: OwnedFd,
    stream: Stream,
    /// The segment that was read last, and where it begins.
    open: Option<(u64, OwnedFd)>,
}

impl LogReader {
    /// Reads a stream in this job's directory.
    pub fn new(directory: OwnedFd, stream: Stream) -> Self {
        Self { directory, stream, open: None }
    }

    /// Reads the next bytes at this offset or, if that is not kept, behind it. Gives where they begin
    /// and how many there are; nothing if there are none yet.
    pub fn read(&mut self, from: u64, buffer: &mut [u8]) -> io::Result<Option<(u64, usize)>> {
        let mut from = from;
        let mut segments = Vec::new();
        loop {
            // Looked at again once the directory was: a segment that has one behind it grows no more.
            if let Some(len) = self.read_open(from, buffer)? {
                return Ok(Some((from, len)));
            }
            let looked = std::mem::replace(&mut segments, self.segments()?);
            if looked != segments {
                continue;
            }
            let Some(next) = next(&segments, from, self.opened()) else { return Ok(None) };
            match self.open(next) {
                // The oldest has gone meanwhile: then another is the oldest.
                Err(Errno::NOENT) => {}
                opened => {
                    opened?;
                    from = from.max(next);
                }
            }
        }
    }

    /// Where the bytes that are kept begin and end.
    pub fn bounds(&mut self) -> io::Result<(u64, u64)> {
        loop {
            let segments = self.segments()?;
            let (Some(&first), Some(&last)) = (segments.first(), segments.last()) else {
                return Ok((0, 0));
            };
            match self.open(last) {
                Err(Errno::NOENT) => {}
                opened => return Ok((first, last + opened?)),
            }
        }
    }

    /// Takes off what a crash of the host has left at the end of what was being written: the file had its
    /// length already, and not yet its bytes, which read as zeros. Only for a job that died with its host.
    pub fn cut_unwritten(&mut self) -> io::Result<()> {
        for begin in self.segments()?.into_iter().rev() {
            let len = self.open(begin)?;
            let written = self.written(begin, len)?;
            if written == 0 {
                let name = self.stream.segment(begin);
                rustix::fs::unlinkat(&self.directory, name, AtFlags::empty())?;
                self.open = None;
            } else if written < len {
                let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let name = self.stream.segment(begin);
                let file = rustix::fs::openat(&self.directory, name, flags, Mode::empty())?;
                rustix::fs::ftruncate(&file, written)?;
            }
            if written > 0 {
                break;
            }
        }
        Ok(())
    }

    /// The length of the segment that begins here without the zeros at its end.
    fn written(&self, begin: u64, len: u64) -> io::Result<u64> {
        let mut block = vec![0; usize::try_from(BLOCK).unwrap_or(usize::MAX)];
        let mut end = len;
        while end > 0 {
            let from = end.saturating_sub(BLOCK);
            let size = usize::try_from(end - from).unwrap_or(usize::MAX);
            let got = self.read_open(begin + from, &mut block[..size])?.unwrap_or(0);
            if let Some(last) = block[..got].iter().rposition(|&byte| byte != 0) {
                return Ok(from + last as u64 + 1);
            }
            end = from;
        }
        Ok(0)
    }

    /// Where the last `lines` lines begin. An end without a newline is a line too.
    pub fn lines(&mut self, lines: u64) -> io::Result<u64> {
        let (begin, end) = self.bounds()?;
        if lines == 0 {
            return Ok(end);
        }
        let (mut at, mut left) = (end, lines);
        let mut block = vec![0; usize::try_from(BLOCK).unwrap_or(usize::MAX)];
        while at > begin {
            let from = at.saturating_sub(BLOCK).max(begin);
            let len = usize::try_from(at - from).unwrap_or(usize::MAX);
            self.read_exact(from, &mut block[..len])?;
            for (index, byte) in block[..len].iter().enumerate().rev() {
                let offset = from + index as u64;
                // The newline at the very end ends the last line, and begins none.
                if *byte == b'\n' && offset + 1 != end {
                    left -= 1;
                    if left == 0 {
                        return Ok(offset + 1);
                    }
                }
            }
            at = from;
        }
        Ok(begin)
    }

    /// Fills the buffer; what is not kept any more reads as zeros, which are no ends of lines.
    fn read_exact(&mut self, from: u64, buffer: &mut [u8]) -> io::Result<()> {
        buffer.fill(0);
        let (mut at, end) = (from, from + buffer.len() as u64);
        while at < end {
            let mut part = vec![0; usize::try_from(end - at).unwrap_or(usize::MAX)];
            let Some((offset, len)) = self.read(at, &mut part)?.filter(|(offset, _)| *offset < end)
            else {
                break;
            };
            let len = len.min(usize::try_from(end - offset).unwrap_or(usize::MAX));
            let place = usize::try_from(offset - from).unwrap_or(usize::MAX);
            buffer[place..place + len].copy_from_slice(&part[..len]);
            at = offset + len as u64;
        }
        Ok(())
    }

    fn opened(&self) -> Option<u64> {
        self.open.as_ref().map(|(begin, _)| *begin)
    }

    /// Reads from the open segment, if it has bytes at this offset.
    fn read_open(&self, from: u64, buffer: &mut [u8]) -> Result<Option<usize>, Errno> {
        let Some((begin, file)) = &self.open else { return Ok(None) };
        let Some(position) = from.checked_sub(*begin) else { return Ok(None) };
        Ok(Some(rustix::io::pread(file, buffer, position)?).filter(|&len| len > 0))
    }

    /// Opens a segment, and gives its length.
    fn open(&mut self, begin: u64) -> Result<u64, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            rustix::fs::openat(&self.directory, self.stream.segment(begin), flags, Mode::empty())?;
        let len = u64::try_from(fstat(&file)?.st_size).unwrap_or_default();
        self.open = Some((begin, file));
        Ok(len)
    }

    /// Where the segments begin, in order.
    fn segments(&self) -> Result<Vec<u64>, Errno> {
        let mut begins = Vec::new();
        for entry in Dir::read_from(self.directory.as_fd())? {
            begins
                .extend(entry?.file_name().to_str().ok().and_then(|name| self.stream.begin(name)));
        }
        begins.sort_unstable();
        Ok(begins)
    }
}

/// The segment to open for the byte at `from`, which the one that is open does not have: the last that
/// begins there or before, unless that is the open one, else the first behind.
fn next(begins: &[u64], from: u64, open: Option<u64>) -> Option<u64> {
    let behind = begins.partition_point(|&begin| begin <= from);
    let holds = behind.checked_sub(1).and_then(|index| begins.get(index)).copied();
    holds.filter(|_| holds != open).or_else(|| begins.get(behind).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_has_left_unwritten_is_no_output() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, parts: &[&[u8]]| {
            std::fs::write(dir.path().join(name), parts.concat()).unwrap();
        };
        let zeros = vec![0; 200_000];
        write("stdout.0", &[b"one\0two\0", &zeros]);
        write("stdout.200008", &[&zeros]);
        write("stderr.0", &[b"\0\0"]);
        for (stream, text) in [(Stream::Stdout, &b"one\0two"[..]), (Stream::Stderr, b"")] {
            let directory = std::fs::File::open(dir.path()).unwrap();
            let mut reader = LogReader::new(directory.into(), stream);
            for _ in 0..2 {
                reader.cut_unwritten().unwrap();
                let (mut got, mut buffer) = (Vec::new(), [0; 100]);
                while let Some((_, len)) = reader.read(got.len() as u64, &mut buffer).unwrap() {
                    got.extend_from_slice(&buffer[..len]);
                }
                assert_eq!(got, text);
            }
        }
    }

    #[test]
    fn the_segment_that_may_have_a_byte_is_tried_before_the_one_behind() {
        assert_eq!(next(&[], 0, None), None);
        assert_eq!(next(&[0, 10, 20], 0, None), Some(0));
        assert_eq!(next(&[0, 10, 20], 15, None), Some(10));
        assert_eq!(next(&[0, 10, 20], 15, Some(10)), Some(20), "lost between them");
        assert_eq!(next(&[10, 20], 5, None), Some(10));
        assert_eq!(next(&[10, 20], 99, None), Some(20));
        assert_eq!(next(&[10, 20], 99, Some(20)), None);
    }
}
