//! The process that supervisors are born from.
//!
//! To run a program takes several times as long as to fork a small process, and every command needs a
//! supervisor. So the agent runs its own binary once, and that one forks whenever it is asked: with
//! [`ASK`] and a socket, which becomes the new supervisor's. It answers with an error number, 0 if all
//! is well.
//!
//! It waits for its children too, so that none stays a zombie, removes their control groups, and
//! ends what a supervisor that was killed has left running ([`roster`](super::roster) says what that was).
//! Once the agent is gone it stays for that until the last of them has ended.

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

/// What asks for a supervisor; its end of a socket comes with it.
pub(in crate::jobs) const ASK: u8 = b'+';

/// Length of the answer: an error number, little-endian.
pub(in crate::jobs) const ANSWER_LEN: usize = 4;

/// When groups are looked through that could not be removed, because somebody was left in them: soon, for
/// whoever was killed may take a moment to go, and then more and more seldom. In seconds.
const SWEEP_FIRST: i64 = 1;
const SWEEP_LAST: i64 = 600;

/// What a new supervisor is born with.
pub(super) struct Born {
    /// Its agent.
    pub(super) agent: UnixStream,
    /// Where it reports to the zygote.
    pub(super) reports: PipeWriter,
}

/// Forks for the agent at the other end until that is gone and no child is left; then there is `None`.
/// In each child it returns with what that needs.
pub(super) fn serve(agent: UnixStream, groups: Option<&Groups>) -> io::Result<Option<Born>> {
    let ended = signals::watch(&[Signal::SIGCHLD])?;
    let (mut roster, reports) = roster::roster()?;
    let mut agent = Some(agent);
    // An earlier agent may have left some in the same place.
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
                return Ok(Some(Born { agent: theirs, reports }));
            }
            Ok(Some(_)) => answer(socket, 0),
            Err(error) => answer(socket, error.raw_os_error().unwrap_or_default()),
        }
    }
}

/// What was waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ready {
    /// A question came, or the agent has gone.
    Asked,
    /// A child may have ended.
    Ended,
    /// It is time to look at what is left.
    Nothing,
}

/// Waits for a question, or a child's end; if groups are left, no longer than for so many seconds.
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
fn reap(roster: &mut Roster, groups: Option<&Groups>, left: &mut Option<i64>) -> bool {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                // What it has reported last, if it has ended since.
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

/// Ends what a supervisor that was killed could not end. Its control group goes, unless somebody was
/// left behind in it on purpose; whether it has gone.
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

/// Ends the process group of a command whose supervisor died just now: all that can be found of it where
/// there are no control groups.
fn end_group(command: u32) {
    if let Ok(command) = i32::try_from(command) {
        let _ = raw::kill(-command, SIGKILL);
    }
}
