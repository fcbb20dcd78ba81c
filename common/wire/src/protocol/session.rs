//! What either end may say at any time, and the end of each request.

use serde::{Deserialize, Serialize};

use super::audit::AuditHead;

/// Asks for a [`Pong`] at once. Either end, at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// Comes back in the answer.
    pub nonce: u64,
}

/// Answers a [`Ping`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// The ping's.
    pub nonce: u64,
}

/// The agent takes no more requests on this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye {
    /// When to come back, in milliseconds.
    pub retry_after_ms: u64,
}

/// The agent's last frame of every request, whatever came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// The newest line of the host's audit that is on disk.
    pub audit: AuditHead,
}
