//! The process that supervisors are forked from.
//!
//! Executing a program takes several times as long as forking a small process, and every command needs a
//! supervisor. So the agent executes its own binary once, and that process forks on request: it receives
//! [`ASK`] with a socket, which becomes the new supervisor's, and answers with an error number, 0 for success.
//!
//! It also reaps its children, removes their control groups, and kills what a killed supervisor left running
//! (see [`roster`](super::roster)). After the agent has exited it stays until its last child has ended.

use std::io::{self, IoSliceMut, PipeWriter, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::process::{WaitOptions, WaitStatus};

use super::roster::{self, Member, Roster};
use super::signals;
use super::tree::SIGKILL;
use crate::jobs::cgroup::Groups;
use crate::jobs::raw;

/// Requests a supervisor; its end of a socket comes with this byte.
pub(in crate::jobs) const ASK: u8 = b'+';

/// Length of the answer: an error number, little-endian.
pub(in crate::jobs) const ANSWER_LEN: usize = 4;

/// Seconds until the first and between the last sweeps of control groups that could not be removed because they
/// contain processes. The interval doubles, because a killed process may take a moment to disappear.
const SWEEP_FIRST: i64 = 1;
const SWEEP_LAST: i64 = 600;

/// What a new supervisor inherits.
pub(super) struct Inherited {
    /// The connection to its agent.
    pub(super) agent: UnixStream,
    /// The pipe for reports to the zygote.
    pub(super) reports: PipeWriter,
}

/// Forks supervisors on request. Returns `None` once the agent is gone and no child is left, and in each child
/// its inheritance.
pub(super) fn serve(agent: UnixStream, groups: Option<&Groups>) -> io::Result<Option<Inherited>> {
    let ended = signals::watch(&[Signal::SIGCHLD])?;
    let (mut roster, reports) = roster::roster()?;
    let mut agent = Some(agent);
    // An earlier agent may have left groups in the same place.
    let mut left = groups.is_some_and(Groups::sweep).then_some(SWEEP_FIRST);
    loop {
        while ended.read_signal()?.is_some() {}
        roster.update();
        let has_children = reap(&mut roster, groups, &mut left);
        if agent.is_none() && !has_children {
            return Ok(None);
        }
        let ready = wait(agent.as_ref(), ended.as_fd(), left)?;
        if ready == Ready::Nothing {
            let next = left.map_or(SWEEP_FIRST, |seconds| (seconds * 2).min(SWEEP_LAST));
            left = groups.is_some_and(Groups::sweep).then_some(next);
        }
        let Some(socket) = agent.as_ref().filter(|_| ready == Ready::Asked) else { continue };
        let Some(theirs) = question(socket)? else {
            agent = None;
            continue;
        };
        match raw::fork() {
            Ok(None) => {
                SigSet::empty().thread_set_mask()?;
                return Ok(Some(Inherited { agent: theirs, reports }));
            }
            Ok(Some(_)) => answer(socket, 0),
            Err(error) => answer(socket, error.raw_os_error().unwrap_or_default()),
        }
    }
}

/// The event that ended the wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ready {
    /// A request arrived, or the agent is gone.
    Asked,
    /// A child may have ended.
    Ended,
    /// The timeout passed: remaining groups are due for a sweep.
    Nothing,
}

/// Waits for a request or a child's end; if groups remain, at most `left` seconds.
fn wait(agent: Option<&UnixStream>, ended: BorrowedFd<'_>, left: Option<i64>) -> io::Result<Ready> {
    let timeout = left.map(|tv_sec| Timespec { tv_sec, tv_nsec: 0 });
    let mut fds = vec![PollFd::from_borrowed_fd(ended, PollFlags::IN)];
    fds.extend(agent.map(|agent| PollFd::new(agent, PollFlags::IN)));
    match poll(&mut fds, timeout.as_ref()) {
        Ok(0) => return Ok(Ready::Nothing),
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let asked = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
    Ok(if asked { Ready::Asked } else { Ready::Ended })
}

/// Receives the socket of a request, or `None` at the end.
fn question(agent: &UnixStream) -> io::Result<Option<UnixStream>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let came = rustix::net::recvmsg(agent, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC);
    match came {
        Ok(came) if came.bytes == 1 && byte == [ASK] => {}
        // The agent was killed with unread answers.
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
    // If the agent is gone, the next read reports it.
    let _ = agent.write_all(&error.to_le_bytes());
}

/// Reaps children that have ended. Returns whether others are left.
fn reap(roster: &mut Roster, groups: Option<&Groups>, left: &mut Option<i64>) -> bool {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                // Reads reports that the child sent before it ended.
                roster.update();
                let member = roster.ended(pid.as_raw_pid().unsigned_abs());
                if member.is_some_and(|member| !clear_away(groups, member, status)) {
                    *left = Some(SWEEP_FIRST);
                }
            }
            Ok(None) | Err(Errno::INTR) => return true,
            Err(_) => return false,
        }
    }
}

/// Kills what a killed supervisor left running, and removes its control group unless it contains processes that
/// the command left behind. Returns whether the group is gone.
fn clear_away(groups: Option<&Groups>, member: Member, status: WaitStatus) -> bool {
    let was_killed = status.signaled() && !member.over;
    if let Some(command) = member.command.filter(|_| was_killed) {
        end_group(command);
    }
    let Some(group) = groups.map(|groups| groups.of(member.group)) else { return true };
    if was_killed {
        group.kill();
    }
    group.remove()
}

/// Kills the process group of a command whose supervisor just died: all that can be found of it without control
/// groups.
fn end_group(command: u32) {
    if let Ok(command) = i32::try_from(command) {
        let _ = raw::kill(-command, SIGKILL);
    }
}
