//! The few system calls that have no safe wrapper and that starting commands and workers can't do without.
//!
//! Invariant: this is the only unsafe code of the agent's jobs.
#![expect(unsafe_code, reason = "each block says why it is sound")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use nix::unistd::{ForkResult, Gid, Pid, Uid};

use crate::user::Credentials;

/// Signals that the C library keeps for its own threads.
const RESERVED: std::ops::RangeInclusive<i32> = 32..=33;

/// The child of a clone3 is born in the control group of `clone_args.cgroup` (linux/sched.h).
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// Closes every descriptor above standard error.
///
/// Only for the first lines of a process that has opened nothing itself.
pub(crate) fn close_inherited() {
    // SAFETY: nothing in this process owns a descriptor above 2 yet, so none is closed under an owner.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
}

/// Gives every signal its default action again, but for SIGPIPE: this process ignores it, and the
/// standard library restores it for children.
pub(crate) fn reset_signals() {
    let last = libc::SIGRTMAX();
    for number in (1..=last).filter(|n| !RESERVED.contains(n) && *n != libc::SIGPIPE) {
        // SAFETY: the default action runs no code of ours. SIGKILL and SIGSTOP are refused, which
        // changes nothing.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}

/// Leaves the keys of whoever started this process behind: it gets a session keyring of its own, empty.
pub(crate) fn new_session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    const NO_NAME: libc::c_long = 0;
    // SAFETY: without a name the call reads no memory of this process, and changes nothing in it.
    match unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, NO_NAME) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
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

/// Goes on in two processes, as [`fork`] does; the child is born in the control group of this directory.
///
/// Only for a process that has one thread.
pub(super) fn fork_into(group: BorrowedFd<'_>) -> io::Result<Option<Pid>> {
    let arguments = libc::clone_args {
        flags: CLONE_INTO_CGROUP,
        pidfd: 0,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: u64::from(group.as_raw_fd().unsigned_abs()),
    };
    // SAFETY: without CLONE_VM and without a stack this is a fork. There is no other thread, and the kernel
    // only reads the arguments, whose size it is given.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>())
    };
    match i32::try_from(pid) {
        Ok(0) => Ok(None),
        Ok(pid @ 1..) => Ok(Some(Pid::from_raw(pid))),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Ends this process, a fresh child whose program can't be run, without a word to anything that it shares
/// with its parent.
pub(super) fn leave_child() -> ! {
    // SAFETY: it ends the process at once and runs nothing of ours.
    unsafe { libc::_exit(127) }
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

/// Has the command become a program by `run`, as the last thing before the standard library would: what it
/// returns is the command's error.
///
/// Only in a fresh child of a process that has one thread.
pub(super) fn run_last(command: &mut Command, run: impl Fn() -> io::Error + Send + Sync + 'static) {
    // SAFETY: as above; nobody else can hold the allocator's lock, so that it may be used.
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
