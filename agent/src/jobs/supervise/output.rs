//! One of the command's output streams, from its pipe to its storage: the unacknowledged tail for a controller,
//! or the log of a detached job.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::jobs::log::Log;
use crate::jobs::spool::{Filled, Spool};
use crate::jobs::stream::Stream;
use crate::jobs::words::Streams;

/// How long a tail is full before it moves to disk: longer than the pauses of a reader that keeps up, not much
/// longer than the round trip of an acknowledgement.
const GROW_AFTER: Duration = Duration::from_millis(20);

/// Bytes of discarded output that are read at once.
const UNWANTED: usize = 16 * 1024;

/// One output stream: the command's pipe and the storage.
pub(super) struct Output {
    pub(super) pipe: Option<OwnedFd>,
    pub(super) store: Store,
    /// The offset at which the stream was closed. Later bytes are from processes that the command left running.
    closed_at: Option<u64>,
    /// What the command itself had written when it ended reaches this far.
    own_end: u64,
    /// Since when the storage is full.
    full_since: Option<Instant>,
    /// The source is a terminal instead of a pipe.
    is_terminal: bool,
}

/// Where a stream's bytes are kept.
pub(super) enum Store {
    /// The tail that is not acknowledged.
    Tail(Spool),
    /// The log of a detached job.
    Log(Log),
}

impl Store {
    /// Offset behind the last byte that was read.
    pub(super) fn end(&self) -> u64 {
        match self {
            Self::Tail(spool) => spool.end(),
            Self::Log(log) => log.end(),
        }
    }

    /// The tail, unless the job is detached.
    pub(super) fn tail(&self) -> Option<&Spool> {
        match self {
            Self::Tail(spool) => Some(spool),
            Self::Log(_) => None,
        }
    }

    /// Drops everything before `upto`. `false` if that was never read, or is a log.
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
        Self { pipe: None, store, closed_at: None, own_end: 0, full_since: None, is_terminal }
    }

    /// Offset behind the last byte that counts, or that was read so far.
    pub(super) fn end(&self) -> u64 {
        self.closed_at.unwrap_or_else(|| self.store.end())
    }

    /// Ends the stream here. A pipe is still read while a process holds it.
    pub(super) fn close(&mut self) {
        if self.closed_at.is_none() {
            self.closed_at = Some(self.store.end());
            // The command led the terminal's session, which ended with it.
            self.pipe.take_if(|_| self.is_terminal);
        }
    }

    /// Whether no more bytes count.
    pub(super) fn is_closed(&self) -> bool {
        self.pipe.is_none() || self.closed_at.is_some()
    }

    /// The pipe that must still be read when the job is over.
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

    /// Updates since when the storage is full.
    pub(super) fn look(&mut self, now: Instant) {
        let full = !self.is_closed() && !self.store.has_room();
        self.full_since = if full { self.full_since.or(Some(now)) } else { None };
    }

    /// The pipe, if its bytes can be stored or discarded now.
    pub(super) fn readable(&self, now: Instant) -> Option<BorrowedFd<'_>> {
        let worth = self.is_closed()
            || self.store.has_room()
            || self.grows_at().is_some_and(|at| at <= now);
        self.pipe.as_ref().filter(|_| worth).map(AsFd::as_fd)
    }

    /// Reads from the pipe, and closes it at its end or if its bytes can't be stored.
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

    /// Stores unacknowledged output in the job's directory, as a log.
    pub(super) fn keep_unread(&self, directory: BorrowedFd<'_>) {
        if let Store::Tail(spool) = &self.store {
            // If the disk is full the output is lost, but the exit is not.
            let _ = spool.keep(directory);
        }
    }

    /// The command ended: determines how much of the pipe it had written.
    pub(super) fn command_ended(&mut self) {
        let waiting = self.pipe.as_ref().map(rustix::io::ioctl_fionread);
        self.own_end = self.store.end() + waiting.and_then(Result::ok).unwrap_or(0);
    }

    /// Whether everything that the command itself wrote was read.
    pub(super) fn has_own_output(&self) -> bool {
        self.store.end() >= self.own_end
    }
}

/// The pipe of a job that is over, and the log for its bytes.
pub(super) struct Leftover {
    pub(super) pipe: OwnedFd,
    /// Only for a detached job.
    log: Option<Log>,
}

impl Leftover {
    /// Reads from the pipe.
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
