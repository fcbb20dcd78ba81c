//! Messages that either end may send at any time, and the end of each request.

use serde::{Deserialize, Serialize};

use super::audit::AuditHead;

/// Asks for a [`Pong`] at once. Either end may send it at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// Repeated in the answer.
    pub nonce: u64,
}

/// Answers a [`Ping`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// The nonce of the ping.
    pub nonce: u64,
}

/// Reports that the agent accepts no more requests on this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye {
    /// When to reconnect, in milliseconds.
    pub retry_after_ms: u64,
}

/// The agent's last frame of every request, whatever its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// The newest audit line on the host's disk.
    pub audit: AuditHead,
}
