//! Makes a write beyond the limit on the size of a file (`RLIMIT_FSIZE`) an error, instead of the end of the
//! process.
//!
//! The kernel sends SIGXFSZ to a process that writes beyond its limit, which by default kills it. With a
//! handler the write fails with `EFBIG`. The signal is not ignored, because commands started by this process
//! would inherit that; a handler is reset when a program is executed.
//!
//! A write raises one other signal, SIGPIPE, which Rust's runtime ignores and restores for children.
#![expect(unsafe_code, reason = "the block says why it is sound")]

use std::io;

use nix::libc::c_int;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Makes writes beyond the limit fail with `EFBIG` in this process, and in those forked from it.
pub fn report_as_error() -> io::Result<()> {
    let handler = SigHandler::Handler(ignore);
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing at all, so it may run at any point of any thread.
    unsafe { sigaction(Signal::SIGXFSZ, &action) }?;
    Ok(())
}

extern "C" fn ignore(_: c_int) {}
