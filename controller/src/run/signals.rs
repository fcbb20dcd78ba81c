//! Ctrl-C and its like while a command runs elsewhere: the first goes to the command, the second ends
//! us, and so does the first while there is no command yet.

use std::io;

use tokio::io::AsyncWrite;
use tokio::signal::unix::{SignalKind, signal};

use super::Job;

/// SIGINT's number on every Linux.
pub(crate) const SIGINT: u8 = 2;
/// SIGPIPE's number.
pub(crate) const SIGPIPE: u8 = 13;
/// SIGTERM's number.
pub(crate) const SIGTERM: u8 = 15;

/// Forwards the first SIGINT or SIGTERM and resolves with the number of the second.
pub(crate) async fn forward<O, E>(job: &Job<O, E>) -> io::Result<u8>
where
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut forwarded = false;
    loop {
        let number = tokio::select! {
            _ = interrupt.recv() => SIGINT,
            _ = terminate.recv() => SIGTERM,
        };
        if forwarded || !job.has_started() {
            return Ok(number);
        }
        forwarded = true;
        job.signal(number);
    }
}
