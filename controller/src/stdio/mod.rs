//! This process's own stdin, stdout and stderr, without blocking the runtime on a slow peer.
//!
//! Pipes and terminals are opened again, so that O_NONBLOCK is set on a new file description instead of the one
//! that is shared with the shell and other processes. Descriptors that never block are used directly; for all
//! others there is a thread.

mod input;
mod output;
mod threads;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, fstat, major};
use rustix::io::Errno;

pub(crate) use input::Stdin;
pub(crate) use output::{LocalOutput, is_at_line_start};
pub(crate) use threads::write_all;

/// Major number of memory devices: `/dev/null`, `/dev/zero`, `/dev/full`. They never block.
const MEMORY_DEVICES: u32 = 1;

/// How a descriptor can be used.
enum Access {
    /// It never blocks for long.
    Plain,
    /// Opened again, with O_NONBLOCK.
    Reopened(OwnedFd),
    /// It may block, and can't be opened again.
    Blocking,
}

fn access(fd: BorrowedFd<'_>, direction: OFlags) -> Access {
    let Ok(stat) = fstat(fd) else { return Access::Plain };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile | FileType::BlockDevice | FileType::Directory => Access::Plain,
        FileType::CharacterDevice if major(stat.st_rdev) == MEMORY_DEVICES => Access::Plain,
        FileType::Fifo => reopen(fd, direction),
        FileType::CharacterDevice if rustix::termios::isatty(fd) => reopen(fd, direction),
        _ => Access::Blocking,
    }
}

fn reopen(fd: BorrowedFd<'_>, direction: OFlags) -> Access {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = direction | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => Access::Reopened(fd),
        Err(_) => Access::Blocking,
    }
}

/// An error of the same kind, because [`io::Error`] can't be cloned.
pub(crate) fn copy_error(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// Retries a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}
