//! Ctrl-C and its like while a command runs elsewhere: the first goes to the command, the second ends
//! us, and so does the first while there is no command yet.

use std::io;

use tokio::io::AsyncWrite;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Job;

/// SIGINT's number on every Linux.
pub(crate) const SIGINT: u8 = 2;
/// SIGPIPE's number.
pub(crate) const SIGPIPE: u8 = 13;
/// SIGTERM's number.
pub(crate) const SIGTERM: u8 = 15;

/// This process's SIGINT and SIGTERM, from now on.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// One that came.
    came: Option<u8>,
}

impl Signals {
    /// Takes them over. Needs a runtime around it.
    pub(crate) fn new() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())?, came: None })
    }

    /// The first one that came so far.
    pub(crate) fn came(&self) -> Option<u8> {
        self.came
    }

    /// The next one. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> u8 {
        let number = tokio::select! {
            _ = self.interrupt.recv() => SIGINT,
            _ = self.terminate.recv() => SIGTERM,
        };
        self.came.get_or_insert(number);
        number
    }

    /// Forwards the first to the command and resolves with the number of the second.
    pub(super) async fn forward<O, E>(&mut self, job: &Job<O, E>) -> u8
    where
        O: AsyncWrite + Unpin,
        E: AsyncWrite + Unpin,
    {
        let mut forwarded = false;
        loop {
            let number = self.next().await;
            if forwarded || !job.has_started() {
                return number;
            }
            forwarded = true;
            job.signal(number);
        }
    }
}
