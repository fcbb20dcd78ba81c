//! Starts supervisors. One is always kept ready, waiting for its request, because starting a process is
//! the largest part of the time that a short command takes.
//!
//! A supervisor that is ready has opened nothing and knows nothing; it leaves when the agent goes.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Resource, prlimit};

use super::channel;
use super::reaper::Reaper;
use super::supervise::SUBCOMMAND;
use crate::descriptors;

pub(super) struct Spawner {
    program: PathBuf,
    reaper: Reaper,
    ready: Mutex<Option<UnixStream>>,
}

impl Spawner {
    /// For supervisors that are run as `PROGRAM supervise`.
    pub(super) fn new(program: PathBuf) -> io::Result<Self> {
        Ok(Self { program, reaper: Reaper::start()?, ready: Mutex::default() })
    }

    /// Gives a supervisor its request, and the descriptors that go with it.
    pub(super) fn start(
        &self,
        request: &[u8],
        with: [BorrowedFd<'_>; 2],
    ) -> io::Result<UnixStream> {
        if let Some(ready) = self.lock().take() {
            // One that somebody has killed meanwhile takes nothing: then a new one does.
            if channel::send_all(&ready, request, &with).is_ok() {
                return Ok(ready);
            }
        }
        let new = self.spawn()?;
        channel::send_all(&new, request, &with)?;
        Ok(new)
    }

    /// Sees to it that one is ready. Call it when nobody waits for anything.
    pub(super) fn make_ready(&self) {
        let mut ready = self.lock();
        if ready.is_none() {
            // Without one the next command just takes a little longer.
            *ready = self.spawn().ok();
        }
    }

    /// Removes what supervisors had to leave behind.
    pub(super) fn sweep(&self) {
        self.reaper.sweep();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<UnixStream>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new(&self.program)
            .arg0("lariatd")
            .arg(SUBCOMMAND)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        // It has not been told its command yet, so the command inherits the limit that the agent had.
        let limit = descriptors::original();
        let _ = prlimit(Some(Pid::from_child(&child)), Resource::Nofile, limit);
        self.reaper.adopt(child.id())?;
        Ok(ours)
    }
}
