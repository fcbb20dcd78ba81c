//! The output of a detached job: one stream's newest bytes, in files of the job's directory.
//!
//! A stream is cut into segments, `stdout.N` from its byte N on. A full one is left behind for the
//! next, and the oldest goes when all of them together would be more than the limit. Readers
//! ([`super::log_reader`]) need nobody's help, also when the job and its supervisor are gone.
//!
//! Invariant: a byte in a segment is never overwritten, and the job is never held up: output for which
//! the disk has no room is lost, which the next segment's name shows.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::SpliceFlags;

use super::spool::Filled;
use super::stream::Stream;

/// How many segments a full log has.
const SEGMENTS: u64 = 8;

/// Bytes that are thrown away at once when they can't be kept.
const LOST: usize = 16 * 1024;

/// The supervisor's side of a log.
pub(super) struct Log {
    stream: Stream,
    /// Bytes in a segment.
    segment: u64,
    /// Where each segment begins, the oldest first; the newest is being written.
    begins: VecDeque<u64>,
    file: Option<OwnedFd>,
    end: u64,
}

impl Log {
    /// An empty log that keeps at most `limit` bytes.
    pub(super) fn new(stream: Stream, limit: u64) -> Self {
        let segment = (limit / SEGMENTS).max(1);
        Self { stream, segment, begins: VecDeque::new(), file: None, end: 0 }
    }

    /// Offset behind the last byte that came, kept or not.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Takes what the pipe has, as much as one segment does.
    pub(super) fn fill(
        &mut self,
        pipe: BorrowedFd<'_>,
        directory: BorrowedFd<'_>,
    ) -> io::Result<Filled> {
        match self.splice(pipe, directory) {
            Ok(0) => Ok(Filled::End),
            Ok(len) => {
                self.end += len;
                Ok(Filled::Bytes(len))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Filled::Nothing),
            // The next byte that can be kept begins a segment of its own.
            Err(_) if self.drop_oldest(directory) => Ok(Filled::Nothing),
            Err(_) => self.lose(pipe),
        }
    }

    fn splice(&mut self, pipe: BorrowedFd<'_>, directory: BorrowedFd<'_>) -> Result<u64, Errno> {
        let mut written = self.begins.back().map_or(0, |begin| self.end - begin);
        if self.file.is_none() || written >= self.segment {
            self.begin_segment(directory)?;
            written = 0;
        }
        let file = self.file.as_ref().ok_or(Errno::BADF)?;
        let len = usize::try_from(self.segment - written).unwrap_or(usize::MAX);
        let mut position = written;
        let flags = SpliceFlags::NONBLOCK;
        Ok(rustix::pipe::splice(pipe, None, file, Some(&mut position), len, flags)? as u64)
    }

    fn begin_segment(&mut self, directory: BorrowedFd<'_>) -> Result<(), Errno> {
        while self.begins.len() as u64 >= SEGMENTS && self.drop_oldest(directory) {}
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = self.stream.segment(self.end);
        self.file = None;
        self.file = Some(rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?);
        if self.begins.back() != Some(&self.end) {
            self.begins.push_back(self.end);
        }
        Ok(())
    }

    /// Makes room. `false` when only what is being written is left.
    fn drop_oldest(&mut self, directory: BorrowedFd<'_>) -> bool {
        if self.begins.len() < 2 {
            return false;
        }
        let Some(begin) = self.begins.pop_front() else { return false };
        let _ = rustix::fs::unlinkat(directory, self.stream.segment(begin), AtFlags::empty());
        true
    }

    fn lose(&mut self, pipe: BorrowedFd<'_>) -> io::Result<Filled> {
        self.file = None;
        match rustix::io::read(pipe, &mut [0; LOST]) {
            Ok(0) => Ok(Filled::End),
            Ok(len) => {
                self.end += len as u64;
                Ok(Filled::Bytes(len as u64))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Filled::Nothing),
            Err(error) => Err(error.into()),
        }
    }
}

impl Stream {
    /// The name of the segment that begins at this offset.
    pub(super) fn segment(self, begin: u64) -> String {
        format!("{}.{begin}", self.name())
    }

    /// Where the segment of this name begins, if it is one of this stream's.
    pub(super) fn begin(self, name: &str) -> Option<u64> {
        name.strip_prefix(self.name())?.strip_prefix('.')?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::super::log_reader::LogReader;
    use super::*;

    struct Case {
        dir: tempfile::TempDir,
        directory: OwnedFd,
        log: Log,
        pipe: (io::PipeReader, io::PipeWriter),
    }

    impl Case {
        fn new(limit: u64) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let directory = std::fs::File::open(dir.path()).unwrap().into();
            Self { dir, directory, log: Log::new(Stream::Stdout, limit), pipe: io::pipe().unwrap() }
        }

        fn write(&mut self, bytes: &[u8]) {
            self.pipe.1.write_all(bytes).unwrap();
            let upto = self.log.end() + bytes.len() as u64;
            while self.log.end() < upto {
                self.log.fill(self.pipe.0.as_fd(), self.directory.as_fd()).unwrap();
            }
        }

        fn reader(&self) -> LogReader {
            LogReader::new(self.directory.try_clone().unwrap(), Stream::Stdout)
        }

        /// What is there from an offset on, in pieces.
        fn read(&self, from: u64) -> Vec<(u64, String)> {
            let (mut reader, mut at, mut pieces) = (self.reader(), from, Vec::new());
            while let Some((offset, len)) = reader.read(at, &mut [0; 3]).unwrap() {
                let mut bytes = vec![0; len];
                assert_eq!(reader.read(at, &mut bytes).unwrap(), Some((offset, len)));
                pieces.push((offset, String::from_utf8(bytes).unwrap()));
                at = offset + len as u64;
            }
            pieces
        }

        fn text(&self, from: u64) -> String {
            self.read(from).into_iter().map(|(_, text)| text).collect()
        }
    }

    #[test]
    fn all_is_there_until_it_is_too_much_and_then_the_newest() {
        let mut case = Case::new(80);
        case.write(b"one\n");
        case.write(b"two\n");
        assert_eq!(case.text(0), "one\ntwo\n");
        assert_eq!(case.text(5), "wo\n");
        assert_eq!(case.read(8), []);
        let all = (0..50).fold(String::new(), |all, n| all + &format!("{n:04}\n"));
        case.write(all.as_bytes());
        let whole = format!("one\ntwo\n{all}");
        let (begin, end) = case.reader().bounds().unwrap();
        assert_eq!(end, whole.len() as u64);
        assert!((end - 80..=end - 70).contains(&begin), "{begin} of {end}");
        let kept = &whole[usize::try_from(begin).unwrap()..];
        assert_eq!(case.text(0), kept);
        assert_eq!(case.read(0)[0].0, begin, "what is not there is passed over");
        let on_disk: u64 =
            case.dir.path().read_dir().unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert!(on_disk <= 80, "{on_disk}");
    }

    #[test]
    fn lines_are_counted_from_the_end() {
        let mut case = Case::new(80);
        assert_eq!(case.reader().lines(5).unwrap(), 0);
        case.write(b"one\ntwo\n\nthree is long enough for several of them\nfour");
        for (lines, text) in [
            (0, ""),
            (1, "four"),
            (2, "three is long enough for several of them\nfour"),
            (3, "\nthree is long enough for several of them\nfour"),
            (5, "one\ntwo\n\nthree is long enough for several of them\nfour"),
            (u64::MAX, "one\ntwo\n\nthree is long enough for several of them\nfour"),
        ] {
            assert_eq!(case.text(case.reader().lines(lines).unwrap()), text, "{lines} lines");
        }
        case.write(b"\n");
        assert_eq!(case.text(case.reader().lines(1).unwrap()), "four\n");
    }

    #[test]
    fn what_the_disk_does_not_take_is_lost_and_seen_to_be() {
        let mut case = Case::new(80);
        case.write(b"before");
        // Nothing can be made any more in a directory that is gone.
        let directory = std::mem::replace(
            &mut case.directory,
            rustix::stdio::stdin().try_clone_to_owned().unwrap(),
        );
        case.log.file = None;
        case.write(b"lost");
        case.directory = directory;
        case.write(b"after");
        assert_eq!(case.text(0), "beforeafter");
        assert_eq!(case.read(6)[0].0, 10);
        drop(case.pipe.1);
        let end = case.log.fill(case.pipe.0.as_fd(), case.directory.as_fd()).unwrap();
        assert_eq!(end, Filled::End);
    }
}
