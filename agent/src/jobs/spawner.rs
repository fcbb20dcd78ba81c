//! Starts supervisors. One is always kept ready, waiting for its request, because starting it takes most of the
//! time of a short command.
//!
//! An idle supervisor has no open files and exits when the agent does.

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

/// Longest wait for a new supervisor.
const FORK_TIMEOUT: Duration = Duration::from_secs(10);

/// Stack size of the thread that waits for the zygote, in bytes.
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

/// The process that supervisors are forked from; see [`zygote`](super::supervise::zygote). It stops forking
/// when this is dropped.
struct Zygote(UnixStream);

impl Spawner {
    /// Creates a spawner whose supervisors are forked from `PROGRAM supervise`.
    pub(super) fn new(program: PathBuf) -> Self {
        Self { program, state: Mutex::default() }
    }

    /// Sends a request with its descriptors to a supervisor, and returns the supervisor's socket.
    pub(super) fn start(
        &self,
        request: &[u8],
        with: [BorrowedFd<'_>; 2],
    ) -> io::Result<UnixStream> {
        if let Some(ready) = self.lock().ready.take() {
            // The idle supervisor may have been killed meanwhile: then a new one takes the request.
            if channel::send_all(&ready, request, &with).is_ok() {
                return Ok(ready);
            }
        }
        let new = self.lock().spawn(&self.program)?;
        channel::send_all(&new, request, &with)?;
        Ok(new)
    }

    /// Makes sure that an idle supervisor exists. Call it when no client is waiting.
    pub(super) fn make_ready(&self) {
        let mut state = self.lock();
        if state.ready.is_none() {
            // If this fails, the next command starts its own supervisor.
            state.ready = state.spawn(&self.program).ok();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn spawn(&mut self, program: &Path) -> io::Result<UnixStream> {
        // The zygote may have been killed: then a new one is started.
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
                    "commands run in the agent's own unit, because systemd-run failed: {error}"
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
        ours.set_read_timeout(Some(FORK_TIMEOUT))?;
        let mut process = command
            .arg0("lariatd")
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        // Nothing was forked yet, so commands inherit the limit that the agent was started with.
        let limit = descriptors::original();
        let _ = prlimit(Some(Pid::from_child(&process)), Resource::Nofile, limit);
        // Waits for the process, so that it does not remain a zombie.
        thread::Builder::new().name("zygote".to_owned()).stack_size(STACK).spawn(move || {
            let _ = process.wait();
        })?;
        Ok(Self(ours))
    }

    /// Forks a supervisor. The inner result is its socket or the error of the fork; the outer one fails if the
    /// zygote does not answer.
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
