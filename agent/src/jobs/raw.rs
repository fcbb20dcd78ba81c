//! The few system calls that have no safe wrapper and that starting commands can't do without.
//!
//! Invariant: this is the only unsafe code of the agent's jobs.
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
pub(super) fn close_inherited() {
    // SAFETY: nothing in this process owns a descriptor above 2 yet, so none is closed under an owner.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
}

/// Gives every signal its default action again, but for SIGPIPE: this process ignores it, and the
/// standard library restores it for children.
pub(super) fn reset_signals() {
    let last = libc::SIGRTMAX();
    for number in (1..=last).filter(|n| !RESERVED.contains(n) && *n != libc::SIGPIPE) {
        // SAFETY: the default action runs no code of ours. SIGKILL and SIGSTOP are refused, which
        // changes nothing.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}

/// Goes on in two processes: with the child's id in this one, with `None` in the child.
///
/// Only for a process that has one thread.
pub(super) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: there is no other thread whose locks or half-done work the child could meet.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Some(child)),
        ForkResult::Child => Ok(None),
    }
}

/// Makes the command another user's process for good, right before its program is run.
pub(super) fn become_user(command: &mut Command, user: &Credentials) {
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    let (gid, uid) = (Gid::from_raw(user.gid), Uid::from_raw(user.uid));
    let switch = move || {
        nix::unistd::setgroups(&groups)?;
        nix::unistd::setresgid(gid, gid, gid)?;
        nix::unistd::setresuid(uid, uid, uid)?;
        Ok(())
    };
    // SAFETY: a supervisor has one thread, so the closure may do between fork and exec whatever it may
    // do at all; it makes system calls only, and allocates nothing.
    unsafe { command.pre_exec(switch) };
}

/// Makes the command the leader of a session of its own, whose terminal is its stdin, right before its
/// program is run.
pub(super) fn lead_session(command: &mut Command) {
    let lead = || {
        rustix::process::setsid()?;
        rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        Ok(())
    };
    // SAFETY: as above: one thread, system calls only, and nothing is allocated.
    unsafe { command.pre_exec(lead) };
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
