//! Starts supervisors. One is always kept ready, waiting for its request, because to have it born is the
//! largest part of the time that a short command takes.
//!
//! A supervisor that is ready has opened nothing and knows nothing; it leaves when the agent goes.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use lariat_base::lock::lock;
use rustix::process::{Pid, Resource, prlimit};

use super::supervise::zygote::{ANSWER_LEN, ASK};
use super::supervise::{ASIDE, SUBCOMMAND};
use super::{channel, scope};
use crate::descriptors;

/// Longest time that a supervisor may take to be born.
const PATIENCE: Duration = Duration::from_secs(10);

/// Room for the frames of a thread that waits, in bytes.
const STACK: usize = 64 * 1024;

pub(super) struct Spawner {
    program: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ready: Option<UnixStream>,
    zygote: Option<Zygote>,
}

/// The process that supervisors are forked from; see [`zygote`](super::supervise::zygote). It leaves
/// when this is dropped.
struct Zygote(UnixStream);

impl Spawner {
    /// For supervisors that are forked from `PROGRAM supervise`.
    pub(super) fn new(program: PathBuf) -> Self {
        Self { program, state: Mutex::default() }
    }

    /// Gives a supervisor its request, and the descriptors that go with it.
    pub(super) fn start(
        &self,
        request: &[u8],
        with: [BorrowedFd<'_>; 2],
    ) -> io::Result<UnixStream> {
        if let Some(ready) = self.lock().ready.take() {
            // One that somebody has killed meanwhile takes nothing: then a new one does.
            if channel::send_all(&ready, request, &with).is_ok() {
                return Ok(ready);
            }
        }
        let new = self.lock().spawn(&self.program)?;
        channel::send_all(&new, request, &with)?;
        Ok(new)
    }

    /// Sees to it that one is ready. Call it when nobody waits for anything.
    pub(super) fn make_ready(&self) {
        let mut state = self.lock();
        if state.ready.is_none() {
            // Without one the next command just takes a little longer.
            state.ready = state.spawn(&self.program).ok();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn spawn(&mut self, program: &Path) -> io::Result<UnixStream> {
        // One that somebody has killed answers nothing: then a new one does.
        if let Some(Ok(made)) = self.zygote.as_mut().map(Zygote::fork) {
            return made;
        }
        if let Some(command) = scope::command(program) {
            let mut zygote = Zygote::start(command, &[SUBCOMMAND, ASIDE])?;
            match zygote.fork() {
                Ok(made) => {
                    self.zygote = Some(zygote);
                    return made;
                }
                Err(error) => tracing::warn!(
                    "commands run in the agent's own unit, for systemd-run gives them none: {error}"
                ),
            }
        }
        let zygote = Zygote::start(Command::new(program), &[SUBCOMMAND])?;
        self.zygote.insert(zygote).fork()?
    }
}

impl Zygote {
    fn start(mut command: Command, arguments: &[&str]) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(PATIENCE))?;
        let mut process = command
            .arg0("lariatd")
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        // It has forked nothing yet, so commands inherit the limit that the agent had.
        let limit = descriptors::original();
        let _ = prlimit(Some(Pid::from_child(&process)), Resource::Nofile, limit);
        // So that it is no zombie, whenever it ends.
        thread::Builder::new().name("zygote".to_owned()).stack_size(STACK).spawn(move || {
            let _ = process.wait();
        })?;
        Ok(Self(ours))
    }

    /// Has it fork: the new supervisor's socket, or why there is none. It fails itself if there is nobody
    /// to be asked.
    fn fork(&mut self) -> io::Result<io::Result<UnixStream>> {
        let (ours, theirs) = UnixStream::pair()?;
        channel::send_all(&self.0, &[ASK], &[theirs.as_fd()])?;
        let mut answer = [0; ANSWER_LEN];
        self.0.read_exact(&mut answer)?;
        Ok(match i32::from_le_bytes(answer) {
            0 => Ok(ours),
            number => Err(io::Error::from_raw_os_error(number)),
        })
    }
}
