//! System calls without a safe wrapper that starting commands and workers needs.
//!
//! Invariant: this and `clone` are the only unsafe code of the agent's jobs.
#![expect(unsafe_code, reason = "each block says why it is sound")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use nix::unistd::{ForkResult, Gid, Pid, Uid};

use crate::user::Credentials;

/// Signals that the C library keeps for its own threads.
const RESERVED: std::ops::RangeInclusive<i32> = 32..=33;

/// Closes every descriptor above standard error.
///
/// Only for the first lines of a process that has opened nothing itself.
pub(crate) fn close_inherited() {
    // SAFETY: nothing in this process owns a descriptor above 2 yet, so none is closed under an owner.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
}

/// Restores the default action of every signal except SIGPIPE, which this process ignores and the standard
/// library restores for children.
pub(crate) fn reset_signals() {
    let last = libc::SIGRTMAX();
    for number in (1..=last).filter(|n| !RESERVED.contains(n) && *n != libc::SIGPIPE) {
        // SAFETY: the default action runs no code of this process. SIGKILL and SIGSTOP are refused, which
        // changes nothing.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}

/// Joins a new, empty session keyring, so that keys of the process's parent are not accessible.
pub(crate) fn new_session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    const NO_NAME: libc::c_long = 0;
    // SAFETY: without a name the call reads no memory of this process, and changes nothing in it.
    match unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, NO_NAME) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Forks: returns the child's id in the parent, and `None` in the child.
///
/// Only for a process with one thread.
pub(super) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: no other thread exists whose locks or unfinished work the child could inherit.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Some(child)),
        ForkResult::Child => Ok(None),
    }
}

/// Makes the command switch to this user permanently before its program is executed.
pub(super) fn become_user(command: &mut Command, user: &Credentials) {
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    let (gid, uid) = (Gid::from_raw(user.gid), Uid::from_raw(user.uid));
    let switch = move || {
        nix::unistd::setgroups(&groups)?;
        nix::unistd::setresgid(gid, gid, gid)?;
        nix::unistd::setresuid(uid, uid, uid)?;
        Ok(())
    };
    // SAFETY: a supervisor has one thread, so the closure may run any code between fork and exec; it only makes
    // system calls and does not allocate.
    unsafe { command.pre_exec(switch) };
}

/// Makes the command the leader of a new session, with its stdin as the controlling terminal, before its
/// program is executed.
pub(super) fn lead_session(command: &mut Command) {
    let lead = || {
        rustix::process::setsid()?;
        rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        Ok(())
    };
    // SAFETY: as above: one thread, system calls only, no allocation.
    unsafe { command.pre_exec(lead) };
}

/// Executes the command with `run` in place of the standard library's `exec`; the error that it returns becomes
/// the command's.
///
/// Only in a new child of a process with one thread.
pub(super) fn run_last(command: &mut Command, run: impl Fn() -> io::Error + Send + Sync + 'static) {
    // SAFETY: as above; no other thread can hold the allocator's lock, so `run` may allocate.
    unsafe { command.pre_exec(move || Err(run())) };
}

/// Sends any signal, real-time ones included, to a process, or with a negative id to a group.
pub(super) fn kill(pid: i32, number: u8) -> io::Result<()> {
    let number = i32::from(number);
    if RESERVED.contains(&number) || !(1..=libc::SIGRTMAX()).contains(&number) || pid.abs() <= 1 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: kill touches no memory of this process.
    match unsafe { libc::kill(pid, number) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
