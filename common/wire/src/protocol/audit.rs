//! The newest line of a host's audit, which the agent reports to controllers, and which they remember as
//! witnesses.

use serde::{Deserialize, Serialize};

/// A line of a host's audit. All zero if the agent keeps no audit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// Identifies the chain of lines; random, generated with the agent's state directory.
    pub chain: [u8; 16],
    /// The line's number in the chain.
    pub seq: u64,
    /// The line's SHA-256, which covers the previous line.
    pub hash: [u8; 32],
}
