//! A worker's process as the agent sees it. Dropping the handle kills the process.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{SUBCOMMAND, confine};
use crate::jobs::OWN_BINARY;
use crate::user::Credentials;

/// Stack size of the thread that waits for a worker, in bytes.
const STACK: usize = 64 * 1024;

/// A process that works as another user.
pub(crate) struct Worker {
    pidfd: OwnedFd,
    socket: Option<UnixStream>,
    /// Receives the exit status.
    ended: oneshot::Receiver<io::Result<ExitStatus>>,
}

impl Worker {
    /// Starts a worker, which waits for its [`Begin`](super::Begin).
    pub(crate) fn start(user: &Credentials) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let (give, process) = mpsc::sync_channel::<Child>(1);
        let (tell, ended) = oneshot::channel();
        // Waiting can take as long as a disk hangs, so a thread does it.
        let wait = move || {
            if let Ok(mut process) = process.recv() {
                // Fails only if the handle has been dropped.
                let _ = tell.send(process.wait());
            }
        };
        thread::Builder::new().name("reaper".to_owned()).stack_size(STACK).spawn(wait)?;
        let process = Command::new(OWN_BINARY)
            .arg0("lariatd")
            .arg(SUBCOMMAND)
            .args(confine::arguments(user))
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        // Nothing has waited for the process yet, so its id can't have been reused.
        let pidfd = pidfd_open(Pid::from_child(&process), PidfdFlags::empty());
        if let Err(mpsc::SendError(mut process)) = give.send(process) {
            // The thread has died.
            let _ = process.kill();
            let _ = process.wait();
        }
        let worker = Self { pidfd: pidfd?, socket: Some(ours), ended };
        Ok(worker)
    }

    /// The agent's end of the socket. Fails at the second call.
    pub(super) fn take_socket(&mut self) -> io::Result<UnixStream> {
        self.socket.take().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Sends a signal. A process that has ended ignores it.
    pub(super) fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    /// Waits up to `limit` for the process to end. Returns `None` if it still runs, or if its status was
    /// lost.
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

/// Describes an exit status for the log.
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("signal {signal} ended it"),
        (None, code) => format!("it ended with {}", code.unwrap_or_default()),
    }
}
