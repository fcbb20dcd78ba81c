//! The signals that the agent acts on.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals, from when this was made on.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
pub(super) enum Heard {
    /// SIGTERM or SIGINT: to stop.
    Stop,
    /// SIGHUP: to read configuration and keyring anew.
    Reload,
}

impl Signals {
    /// Takes them over. Must be called inside a runtime.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal. Cancelling it loses nothing.
    pub(super) async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.terminate.recv() => Heard::Stop,
            _ = self.interrupt.recv() => Heard::Stop,
            _ = self.hangup.recv() => Heard::Reload,
        }
    }

    /// Waits for a signal that asks to stop. Cancelling it loses nothing.
    pub(super) async fn stopped(&mut self) {
        while !matches!(self.next().await, Heard::Stop) {}
    }
}
