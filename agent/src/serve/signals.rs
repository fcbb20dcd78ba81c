//! The signals that the agent acts on.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Receives signals that arrive after it was made.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
pub(super) enum Heard {
    /// SIGTERM or SIGINT: stop.
    Stop,
    /// SIGHUP: reload configuration and keyring.
    Reload,
}

impl Signals {
    /// Installs the signal handlers. Must be called within a runtime.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal. Cancel-safe.
    pub(super) async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.terminate.recv() => Heard::Stop,
            _ = self.interrupt.recv() => Heard::Stop,
            _ = self.hangup.recv() => Heard::Reload,
        }
    }

    /// Waits for a signal that asks to stop. Cancel-safe.
    pub(super) async fn stopped(&mut self) {
        while !matches!(self.next().await, Heard::Stop) {}
    }
}
