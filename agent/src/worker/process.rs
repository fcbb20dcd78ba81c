//! A worker's process as the agent has it: started, signalled, and ended at the latest when it is
//! dropped.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{SUBCOMMAND, confine};
use crate::jobs::OWN_BINARY;
use crate::user::Credentials;

/// Room for the frames of a thread that waits, in bytes.
const STACK: usize = 64 * 1024;

/// A process that works as another user.
pub(crate) struct Worker {
    pidfd: OwnedFd,
    socket: Option<UnixStream>,
    /// How it ended.
    ended: oneshot::Receiver<io::Result<ExitStatus>>,
}

impl Worker {
    /// Starts one. It waits to be told what it is for.
    pub(crate) fn start(user: &Credentials) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut process = Command::new(OWN_BINARY)
            .arg0("lariatd")
            .arg(SUBCOMMAND)
            .args(confine::arguments(user))
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        // Nobody waits for it yet, so the number is its own.
        let pidfd = match pidfd_open(Pid::from_child(&process), PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                return Err(error.into());
            }
        };
        let (tell, ended) = oneshot::channel();
        let worker = Self { pidfd, socket: Some(ours), ended };
        // It may hang in the system for as long as a disk does, so a thread waits for it.
        let wait = move || {
            // Fails only when nobody wants to know any more.
            let _ = tell.send(process.wait());
        };
        thread::Builder::new().name("reaper".to_owned()).stack_size(STACK).spawn(wait)?;
        Ok(worker)
    }

    /// The agent's end of its socket, the first time.
    pub(super) fn take_socket(&mut self) -> io::Result<UnixStream> {
        self.socket.take().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Asks it to do something. One that has ended does nothing.
    pub(super) fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    /// Waits for its end, for so long; `None` if it does not end.
    pub(super) async fn ended(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        match timeout(limit, &mut self.ended).await {
            Ok(Ok(status)) => status.map(Some),
            Ok(Err(_)) | Err(_) => Ok(None),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// How a worker ended, for the log.
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("signal {signal} ended it"),
        (None, code) => format!("it ended with {}", code.unwrap_or_default()),
    }
}
