//! The command's stdin: bytes that were received and not yet written.
//!
//! Invariant: at most [`STDIN_CREDIT`] bytes are buffered, and each is written once and in order, however often
//! the controller sends it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::jobs::words::StdinTaken;
use lariat_wire::limits::STDIN_CREDIT;
use rustix::io::Errno;

/// Size of the pipe after it was full once, in bytes: fewer wakeups for the same bytes.
const LARGE_PIPE: usize = 256 * 1024;

/// End of file on a terminal.
const CTRL_D: u8 = 4;

/// Buffered bytes and the pipe that they are written to.
pub(super) struct Stdin {
    pipe: Option<OwnedFd>,
    queue: VecDeque<u8>,
    taken: u64,
    end: Option<u64>,
    closed: bool,
    /// Whether the pipe was enlarged.
    widened: bool,
    /// The pipe is a terminal.
    is_terminal: bool,
}

/// The agent skipped bytes, or exceeded its credit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misplaced;

impl Stdin {
    /// For a command that reads `/dev/null`.
    pub(super) fn none() -> Self {
        let queue = VecDeque::new();
        let (end, closed, widened) = (None, false, false);
        Self { pipe: None, queue, taken: 0, end, closed, widened, is_terminal: false }
    }

    /// For a command with a pipe or a terminal, if it has one.
    pub(super) fn new(pipe: Option<OwnedFd>) -> io::Result<Self> {
        let mut is_terminal = false;
        if let Some(pipe) = &pipe {
            rustix::io::ioctl_fionbio(pipe, true)?;
            is_terminal = rustix::termios::isatty(pipe);
        }
        Ok(Self { pipe, is_terminal, ..Self::none() })
    }

    /// The pipe, while it is open.
    pub(super) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Whether bytes wait until the command reads.
    pub(super) fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The state that is sent to the controller.
    pub(super) fn taken(&self) -> StdinTaken {
        StdinTaken { upto: self.taken, closed: self.closed }
    }

    /// Accepts bytes at this offset. Those that were received before are skipped.
    pub(super) fn offer(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Misplaced> {
        if self.pipe.is_none() {
            // Bytes in transit when the command closed its stdin have no reader.
            return Ok(());
        }
        let received = self.taken + self.queue.len() as u64;
        let known = received.checked_sub(offset).ok_or(Misplaced)?;
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let Some(new) = bytes.get(known..) else { return Ok(()) };
        if self.queue.len() as u64 + new.len() as u64 > STDIN_CREDIT {
            return Err(Misplaced);
        }
        let written = if self.queue.is_empty() { self.write(new) } else { 0 };
        if self.pipe.is_some() {
            self.queue.extend(&new[written..]);
        }
        Ok(())
    }

    /// Stdin ends after `len` bytes.
    pub(super) fn finish(&mut self, len: u64) {
        self.end = Some(len);
        self.close_at_end();
    }

    /// Writes as many bytes as the command's pipe takes.
    pub(super) fn pump(&mut self) {
        while !self.queue.is_empty() {
            let mut queue = std::mem::take(&mut self.queue);
            let written = self.write(queue.as_slices().0);
            queue.drain(..written);
            if self.pipe.is_none() {
                return;
            }
            self.queue = queue;
            if written == 0 {
                return;
            }
        }
        self.close_at_end();
    }

    /// The command closed its stdin.
    pub(super) fn close(&mut self) {
        if self.pipe.take().is_some() {
            self.closed = true;
            self.queue = VecDeque::new();
        }
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        let Some(pipe) = &self.pipe else { return 0 };
        match rustix::io::write(pipe, bytes) {
            Ok(written) => {
                self.taken += written as u64;
                if written < bytes.len() && !self.widened {
                    self.widened = true;
                    let _ = rustix::pipe::fcntl_setpipe_size(pipe, LARGE_PIPE);
                }
                written
            }
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(_) => {
                self.close();
                0
            }
        }
    }

    fn close_at_end(&mut self) {
        if !self.queue.is_empty() || self.end.is_none_or(|end| end > self.taken) {
            return;
        }
        match &self.pipe {
            // The terminal is still read from. A program in line mode takes this byte as the end of its input.
            Some(terminal) if self.is_terminal => {
                self.end = None;
                let _ = rustix::io::write(terminal, &[CTRL_D]);
            }
            _ => self.pipe = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn stdin() -> (io::PipeReader, Stdin) {
        let (read, write) = io::pipe().unwrap();
        (read, Stdin::new(Some(write.into())).unwrap())
    }

    #[test]
    fn repeated_bytes_reach_the_command_once_and_gaps_never() {
        let (mut read, mut stdin) = stdin();
        stdin.offer(0, b"abc").unwrap();
        stdin.offer(1, b"bcdef").unwrap();
        stdin.offer(0, b"ab").unwrap();
        assert_eq!(stdin.offer(7, b"x"), Err(Misplaced));
        stdin.finish(6);
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcdef");
        assert_eq!(stdin.taken(), StdinTaken { upto: 6, closed: false });
    }

    #[test]
    fn a_command_that_does_not_read_holds_back_at_most_the_credit() {
        let (mut read, mut stdin) = stdin();
        let piece = vec![7; 1024];
        let mut offset = 0;
        while stdin.offer(offset, &piece).is_ok() {
            offset += piece.len() as u64;
        }
        assert_eq!(offset - stdin.taken().upto, STDIN_CREDIT);
        stdin.finish(offset);
        let mut got = 0;
        let mut buffer = [0; 4096];
        loop {
            match read.read(&mut buffer).unwrap() {
                0 => break,
                len => got += len as u64,
            }
            stdin.pump();
        }
        assert_eq!((got, stdin.taken().upto), (offset, offset));
    }

    #[test]
    fn a_closed_stdin_is_reported_and_discards_the_rest() {
        let (read, mut stdin) = stdin();
        drop(read);
        stdin.offer(0, b"x").unwrap();
        assert_eq!(stdin.taken(), StdinTaken { upto: 0, closed: true });
        stdin.offer(0, b"x").unwrap();
        assert!(!stdin.is_waiting());
    }
}
