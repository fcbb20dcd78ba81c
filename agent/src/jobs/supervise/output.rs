//! One of the command's output streams, from its pipe into the spool.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::jobs::spool::{Filled, Spool, Stream};

/// How long a tail is full before it moves to disk: longer than a reader takes that keeps up, not much
/// longer than a distant one's acknowledgement.
const GROW_AFTER: Duration = Duration::from_millis(20);

/// One output stream: the command's pipe and the tail of what came.
pub(super) struct Output {
    pub(super) pipe: Option<OwnedFd>,
    pub(super) spool: Spool,
    /// What the command itself had written when it ended reaches this far.
    owed: u64,
    /// Since when there is no room.
    full_since: Option<Instant>,
}

impl Output {
    /// A stream without a pipe yet.
    pub(super) fn new(stream: Stream) -> Self {
        Self { pipe: None, spool: Spool::new(stream), owed: 0, full_since: None }
    }

    /// When a full tail moves to disk.
    pub(super) fn grows_at(&self) -> Option<Instant> {
        self.full_since.filter(|_| self.spool.can_grow()).map(|since| since + GROW_AFTER)
    }

    /// Looks whether it has room now.
    pub(super) fn look(&mut self, now: Instant) {
        let full = self.pipe.is_some() && !self.spool.has_room();
        self.full_since = if full { self.full_since.or(Some(now)) } else { None };
    }

    /// The pipe, if something can be done with what comes.
    pub(super) fn readable(&self, now: Instant) -> Option<BorrowedFd<'_>> {
        let worth = self.spool.has_room() || self.grows_at().is_some_and(|at| at <= now);
        self.pipe.as_ref().filter(|_| worth).map(AsFd::as_fd)
    }

    /// Takes what the pipe has. One that is at its end, or whose bytes can't be kept, is closed.
    pub(super) fn read(&mut self, folder: BorrowedFd<'_>) -> io::Result<Filled> {
        let Some(pipe) = &self.pipe else { return Ok(Filled::End) };
        let filled = self.spool.fill(pipe.as_fd(), folder);
        if matches!(filled, Ok(Filled::End) | Err(_)) {
            self.pipe = None;
        }
        filled
    }

    /// The command has written its last.
    pub(super) fn command_ended(&mut self) {
        let waiting = self.pipe.as_ref().map(rustix::io::ioctl_fionread);
        self.owed = self.spool.end() + waiting.and_then(Result::ok).unwrap_or(0);
    }

    /// Whether everything that the command itself wrote was read.
    pub(super) fn has_what_is_owed(&self) -> bool {
        self.spool.end() >= self.owed
    }
}
