//! The process that supervisors are born from.
//!
//! To run a program takes several times as long as to fork a small process, and every command needs a
//! supervisor. So the agent runs its own binary once, and that one forks whenever it is asked: with
//! [`ASK`] and a socket, which becomes the new supervisor's. It answers with an error number, 0 if all
//! is well.
//!
//! It waits for its children too, so that none stays a zombie, removes their control groups, and ends
//! what a supervisor that was killed has left running. Once the agent is gone it stays for that until
//! the last of them has ended.

use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::process::{Pid, WaitOptions, WaitStatus};

use super::watch_signals;
use crate::jobs::cgroup::Groups;
use crate::jobs::raw;

/// What asks for a supervisor; its end of a socket comes with it.
pub(in crate::jobs) const ASK: u8 = b'+';

/// Length of the answer: an error number, little-endian.
pub(in crate::jobs) const ANSWER_LEN: usize = 4;

/// Forks for the agent at the other end until that is gone and no child is left; then there is `None`.
/// In each child it returns with the child's socket.
pub(super) fn serve(agent: UnixStream, groups: Option<&Groups>) -> io::Result<Option<UnixStream>> {
    let ended = watch_signals(&[Signal::SIGCHLD])?;
    let mut agent = Some(agent);
    loop {
        while ended.read_signal()?.is_some() {}
        let has_children = reap(groups);
        if agent.is_none() && !has_children {
            return Ok(None);
        }
        let asked = wait(agent.as_ref(), ended.as_fd())?;
        let Some(socket) = agent.as_ref().filter(|_| asked) else { continue };
        let Some(theirs) = question(socket)? else {
            agent = None;
            continue;
        };
        match raw::fork() {
            Ok(None) => {
                SigSet::empty().thread_set_mask()?;
                return Ok(Some(theirs));
            }
            Ok(Some(_)) => answer(socket, 0),
            Err(error) => answer(socket, error.raw_os_error().unwrap_or_default()),
        }
    }
}

/// Waits for a question, or a child's end. Whether it is a question.
fn wait(agent: Option<&UnixStream>, ended: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = vec![PollFd::from_borrowed_fd(ended, PollFlags::IN)];
    fds.extend(agent.map(|agent| PollFd::new(agent, PollFlags::IN)));
    match poll(&mut fds, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(fds.get(1).is_some_and(|fd| !fd.revents().is_empty()))
}

/// The socket that comes with a question, or `None` at the end.
fn question(agent: &UnixStream) -> io::Result<Option<UnixStream>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let came = rustix::net::recvmsg(agent, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC);
    match came {
        Ok(came) if came.bytes == 1 && byte == [ASK] => {}
        // An agent that was killed with answers unread.
        Ok(_) | Err(Errno::CONNRESET) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let socket = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    Ok(socket.map(UnixStream::from))
}

fn answer(mut agent: &UnixStream, error: i32) {
    // An agent that is gone wants none; that it is gone is seen next.
    let _ = agent.write_all(&error.to_le_bytes());
}

/// Waits for the children that have ended. Whether others are left.
fn reap(groups: Option<&Groups>) -> bool {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => clear_away(groups, pid, status),
            Ok(None) | Err(Errno::INTR) => return true,
            Err(_) => return false,
        }
    }
}

/// A supervisor's control group goes, unless somebody was left behind in it on purpose.
fn clear_away(groups: Option<&Groups>, pid: Pid, status: WaitStatus) {
    let Some(groups) = groups else { return };
    let group = groups.of(pid.as_raw_pid().unsigned_abs());
    if status.signaled() {
        // It was killed, and could not end its job.
        group.kill();
    }
    group.remove();
}
