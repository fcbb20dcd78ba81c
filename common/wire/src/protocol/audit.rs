//! How far a host's audit reaches, as its agent tells controllers, who remember it as witnesses.

use serde::{Deserialize, Serialize};

/// A line of a host's audit. All zero where no audit is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// Names the chain of lines; random, made with the agent's state directory.
    pub chain: [u8; 16],
    /// The line's number in the chain.
    pub seq: u64,
    /// The line's SHA-256, which covers the line before it.
    pub hash: [u8; 32],
}
