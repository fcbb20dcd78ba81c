//! This process's own stdin, stdout and stderr, without ever blocking the runtime on a slow partner.
//!
//! What can be opened anew (pipes, terminals) is, so that not blocking is set on our own description
//! and never on the one that we share with the shell and with whoever else writes there. What can't
//! block is used plainly; all else gets a small thread.

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

/// Character devices of memory: `/dev/null`, `/dev/zero`, `/dev/full`. They never block.
const MEMORY_DEVICES: u32 = 1;

/// How a descriptor can be used.
enum Access {
    /// It never blocks for long.
    Plain,
    /// Opened anew, not blocking.
    Reopened(OwnedFd),
    /// It may block, and can't be opened anew.
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

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}
