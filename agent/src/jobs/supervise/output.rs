//! One of the command's output streams, from its pipe to where it is kept: the tail that its controller
//! has not acknowledged, or the log of a detached job.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::jobs::log::Log;
use crate::jobs::spool::{Filled, Spool};
use crate::jobs::stream::Stream;
use crate::jobs::words::Streams;

/// How long a tail is full before it moves to disk: longer than a reader takes that keeps up, not much
/// longer than a distant one's acknowledgement.
const GROW_AFTER: Duration = Duration::from_millis(20);

/// Bytes that nobody wants, read at once.
const UNWANTED: usize = 16 * 1024;

/// One output stream: the command's pipe and what came.
pub(super) struct Output {
    pub(super) pipe: Option<OwnedFd>,
    pub(super) store: Store,
    /// Where it ended. What comes behind is of somebody whom the command left behind.
    closed_at: Option<u64>,
    /// What the command itself had written when it ended reaches this far.
    owed: u64,
    /// Since when there is no room.
    full_since: Option<Instant>,
    /// It is no pipe.
    is_terminal: bool,
}

/// Where a stream's bytes are kept.
pub(super) enum Store {
    /// Until they are acknowledged.
    Tail(Spool),
    /// For later.
    Log(Log),
}

impl Store {
    /// Offset behind the last byte that came.
    pub(super) fn end(&self) -> u64 {
        match self {
            Self::Tail(spool) => spool.end(),
            Self::Log(log) => log.end(),
        }
    }

    /// The tail, if it is one.
    pub(super) fn tail(&self) -> Option<&Spool> {
        match self {
            Self::Tail(spool) => Some(spool),
            Self::Log(_) => None,
        }
    }

    /// Everything before `upto` may be forgotten. `false` when it never came, or is not to be forgotten.
    pub(super) fn ack(&mut self, upto: u64) -> bool {
        match self {
            Self::Tail(spool) => spool.ack(upto),
            Self::Log(_) => false,
        }
    }

    fn has_room(&self) -> bool {
        self.tail().is_none_or(Spool::has_room)
    }
}

impl Output {
    /// A stream without a pipe yet; a log keeps at most `limit` bytes.
    pub(super) fn new(stream: Stream, streams: &Streams, limit: u64) -> Self {
        let store = match streams {
            Streams::Followed { .. } => Store::Tail(Spool::new(stream)),
            Streams::Terminal { .. } => Store::Tail(Spool::in_memory(stream)),
            Streams::Detached => Store::Log(Log::new(stream, limit)),
        };
        let is_terminal = matches!(streams, Streams::Terminal { .. });
        Self { pipe: None, store, closed_at: None, owed: 0, full_since: None, is_terminal }
    }

    /// Offset behind the last byte that counts, or that has come so far.
    pub(super) fn end(&self) -> u64 {
        self.closed_at.unwrap_or_else(|| self.store.end())
    }

    /// Nothing that comes from here on counts. A pipe is still read, as long as somebody holds it.
    pub(super) fn close(&mut self) {
        if self.closed_at.is_none() {
            self.closed_at = Some(self.store.end());
            // The command led its session: the terminal is nobody's any more.
            self.pipe.take_if(|_| self.is_terminal);
        }
    }

    /// Whether nothing more will come that counts.
    pub(super) fn is_closed(&self) -> bool {
        self.pipe.is_none() || self.closed_at.is_some()
    }

    /// What is left of it when the job is over.
    pub(super) fn leftover(self) -> Option<Leftover> {
        let log = match self.store {
            Store::Log(log) => Some(log),
            Store::Tail(_) => None,
        };
        self.pipe.map(|pipe| Leftover { pipe, log })
    }

    /// When a full tail moves to disk.
    pub(super) fn grows_at(&self) -> Option<Instant> {
        let grows = self.store.tail().is_some_and(Spool::can_grow);
        self.full_since.filter(|_| grows).map(|since| since + GROW_AFTER)
    }

    /// Looks whether it has room now.
    pub(super) fn look(&mut self, now: Instant) {
        let full = !self.is_closed() && !self.store.has_room();
        self.full_since = if full { self.full_since.or(Some(now)) } else { None };
    }

    /// The pipe, if something can be done with what comes.
    pub(super) fn readable(&self, now: Instant) -> Option<BorrowedFd<'_>> {
        let worth = self.is_closed()
            || self.store.has_room()
            || self.grows_at().is_some_and(|at| at <= now);
        self.pipe.as_ref().filter(|_| worth).map(AsFd::as_fd)
    }

    /// Takes what the pipe has. One that is at its end, or whose bytes can't be kept, is closed.
    pub(super) fn read(&mut self, directory: BorrowedFd<'_>) -> io::Result<Filled> {
        let Some(pipe) = &self.pipe else { return Ok(Filled::End) };
        let filled = match &mut self.store {
            Store::Tail(_) if self.closed_at.is_some() => throw_away(pipe.as_fd()),
            Store::Tail(spool) if self.is_terminal => {
                spool.fill_from_terminal(pipe.as_fd(), directory)
            }
            Store::Tail(spool) => spool.fill(pipe.as_fd(), directory),
            Store::Log(log) => log.fill(pipe.as_fd(), directory),
        };
        if matches!(filled, Ok(Filled::End) | Err(_)) {
            self.pipe = None;
        }
        filled
    }

    /// Leaves what nobody has acknowledged in the job's directory, as a log has it.
    pub(super) fn keep_unread(&self, directory: BorrowedFd<'_>) {
        if let Store::Tail(spool) = &self.store {
            // Output is lost where it can't be kept; that the command has ended is not.
            let _ = spool.keep(directory);
        }
    }

    /// The command has written its last.
    pub(super) fn command_ended(&mut self) {
        let waiting = self.pipe.as_ref().map(rustix::io::ioctl_fionread);
        self.owed = self.store.end() + waiting.and_then(Result::ok).unwrap_or(0);
    }

    /// Whether everything that the command itself wrote was read.
    pub(super) fn has_what_is_owed(&self) -> bool {
        self.store.end() >= self.owed
    }
}

/// A pipe of a job that is over, and what is done with what comes.
pub(super) struct Leftover {
    pub(super) pipe: OwnedFd,
    /// A detached job's.
    log: Option<Log>,
}

impl Leftover {
    /// Takes what the pipe has.
    pub(super) fn read(&mut self, directory: BorrowedFd<'_>) -> io::Result<Filled> {
        match &mut self.log {
            Some(log) => log.fill(self.pipe.as_fd(), directory),
            None => throw_away(self.pipe.as_fd()),
        }
    }
}

fn throw_away(pipe: BorrowedFd<'_>) -> io::Result<Filled> {
    match rustix::io::read(pipe, &mut [0; UNWANTED]) {
        Ok(0) => Ok(Filled::End),
        Ok(len) => Ok(Filled::Bytes(len as u64)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(Filled::Nothing),
        Err(error) => Err(error.into()),
    }
}
