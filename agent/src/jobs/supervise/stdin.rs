//! The command's stdin: what has come and was not taken yet.
//!
//! Invariant: at most [`STDIN_CREDIT`] bytes are held, each is given to the command once and in order,
//! however often the controller repeats it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::jobs::words::StdinTaken;
use lariat_wire::limits::STDIN_CREDIT;
use rustix::io::Errno;

/// Size of a pipe that was full once, in bytes: fewer turns for the same bytes.
const LARGE_PIPE: usize = 256 * 1024;

/// The end of what is typed.
const CTRL_D: u8 = 4;

/// What is on its way to the command.
pub(super) struct Stdin {
    pipe: Option<OwnedFd>,
    queue: VecDeque<u8>,
    taken: u64,
    end: Option<u64>,
    closed: bool,
    /// Whether the pipe was made larger.
    widened: bool,
    /// What is given is typed.
    is_terminal: bool,
}

/// The other end left out bytes, or sent more than it may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misplaced;

impl Stdin {
    /// A command that reads `/dev/null`.
    pub(super) fn none() -> Self {
        let queue = VecDeque::new();
        let (end, closed, widened) = (None, false, false);
        Self { pipe: None, queue, taken: 0, end, closed, widened, is_terminal: false }
    }

    /// Feeds a pipe, or a terminal, if the command has one.
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

    /// Whether something waits for the command to read.
    pub(super) fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// What the controller is told.
    pub(super) fn taken(&self) -> StdinTaken {
        StdinTaken { upto: self.taken, closed: self.closed }
    }

    /// Bytes came. What was there before is passed over.
    pub(super) fn offer(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Misplaced> {
        if self.pipe.is_none() {
            // What was under way when the command closed its end has no reader.
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

    /// There is no more than `len` bytes.
    pub(super) fn finish(&mut self, len: u64) {
        self.end = Some(len);
        self.close_at_end();
    }

    /// Gives the command what it takes now.
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

    /// The command will read no more.
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
            // Its other direction goes on. Who reads lines takes this for the end, as from a person.
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
    fn a_closed_stdin_is_told_and_swallows_the_rest() {
        let (read, mut stdin) = stdin();
        drop(read);
        stdin.offer(0, b"x").unwrap();
        assert_eq!(stdin.taken(), StdinTaken { upto: 0, closed: true });
        stdin.offer(0, b"x").unwrap();
        assert!(!stdin.is_waiting());
    }
}
