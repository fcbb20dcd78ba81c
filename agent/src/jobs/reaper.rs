//! Reaps supervisors, so that none stays a zombie.
//!
//! What a supervisor that was killed left running is ended, where jobs have control groups.
//!
//! They are the agent's children but no session's: a session may be over before its job is. One small
//! thread waits for all of them, by process descriptors, so that it never takes the status of a child
//! that is somebody else's.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::event::epoll;
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus, pidfd_open, waitpid};

use super::cgroup::Groups;

/// Room for the thread's few frames, in bytes.
const STACK: usize = 64 * 1024;

/// Waits for children that are handed to it.
#[derive(Clone)]
pub(super) struct Reaper(Arc<Inner>);

struct Inner {
    epoll: OwnedFd,
    groups: Option<Groups>,
    children: Mutex<HashMap<i32, OwnedFd>>,
}

impl Reaper {
    /// Starts the thread; it lives as long as the process.
    pub(super) fn start() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let groups = Groups::find();
        let inner = Arc::new(Inner { epoll, groups, children: Mutex::default() });
        let reaper = Self(Arc::clone(&inner));
        thread::Builder::new()
            .name("reaper".to_owned())
            .stack_size(STACK)
            .spawn(move || inner.run())?;
        Ok(reaper)
    }

    /// Removes control groups in which the last process has ended since.
    pub(super) fn sweep(&self) {
        if let Some(groups) = &self.0.groups {
            groups.sweep();
        }
    }

    /// Takes over a child of this process.
    pub(super) fn adopt(&self, pid: u32) -> io::Result<()> {
        let pid =
            i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        let child = pidfd_open(pid, PidfdFlags::empty())?;
        let number = pid.as_raw_pid();
        let mut children = self.0.children.lock().unwrap_or_else(PoisonError::into_inner);
        let data = epoll::EventData::new_u64(u64::from(number.unsigned_abs()));
        epoll::add(&self.0.epoll, &child, data, epoll::EventFlags::IN)?;
        children.insert(number, child);
        Ok(())
    }
}

impl Inner {
    fn run(&self) {
        let mut events = [MaybeUninit::uninit(); 16];
        loop {
            // It fails only when a signal comes.
            let Ok((events, _)) = epoll::wait(&self.epoll, &mut events, None) else { continue };
            for event in events {
                let number = i32::try_from(event.data.u64()).unwrap_or_default();
                if let Some(pid) = Pid::from_raw(number) {
                    let ended = waitpid(Some(pid), WaitOptions::NOHANG);
                    self.ended(number, ended.ok().flatten().map(|(_, status)| status));
                }
                self.forget(number);
            }
        }
    }
}

impl Inner {
    fn forget(&self, number: i32) {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(child) = children.remove(&number) {
            // Closing it is not enough: a process that is being started has a copy until it runs its
            // program, and we would be woken for nothing all that time.
            let _ = epoll::delete(&self.epoll, &child);
        }
    }

    /// A supervisor that was killed could not end its job.
    fn ended(&self, pid: i32, status: Option<WaitStatus>) {
        let killed = status.is_some_and(WaitStatus::signaled);
        if let (true, Some(groups)) = (killed, &self.groups) {
            let group = groups.of(pid.unsigned_abs());
            group.kill();
            group.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn what_it_adopts_is_no_zombie_for_long() {
        let reaper = Reaper::start().unwrap();
        for _ in 0..20 {
            #[expect(clippy::zombie_processes, reason = "that it is waited for is the test")]
            let child = Command::new("/bin/true").spawn().unwrap();
            reaper.adopt(child.id()).unwrap();
        }
        let until = Instant::now() + Duration::from_secs(10);
        while !reaper.0.children.lock().unwrap().is_empty() {
            assert!(Instant::now() < until, "children are left");
            thread::yield_now();
        }
    }
}
