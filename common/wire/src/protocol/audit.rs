//! Messages about a host's audit.
//!
//! ```text
//! controller          agent
//!   ReadAudit    →
//!                ←    AuditFile, AuditBytes..., AuditFile, ..., AuditEnd | Failed
//!   AcceptAudit  →
//!                ←    AuditAccepted | Failed
//! ```
//!
//! The agent sends its files as they are on disk, from the place that is asked for up to the line that tells of
//! the request itself; the controller verifies them. What the newest line is comes with each [`AuditHead`], which
//! controllers remember as witnesses.

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

/// Reads the audit's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadAudit {
    /// Where to begin.
    pub from: AuditStart,
}

/// Where reading an audit begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuditStart {
    /// With the oldest file.
    Oldest,
    /// In the file that begins with line `first`, behind this many bytes. If it is no longer kept, with the oldest
    /// file after it.
    Behind {
        /// The file's first line.
        first: u64,
        /// Bytes of it that are not sent.
        offset: u64,
    },
    /// With the file that was the newest one at this time, in milliseconds since 1970.
    Since(u64),
}

/// The next [`Kind::AuditBytes`](super::Kind::AuditBytes) are those of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditFile {
    /// The number of the file's first line.
    pub first: u64,
    /// The offset in the file at which the bytes begin.
    pub offset: u64,
}

/// Reports the end of the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEnd {
    /// The last line that was sent.
    pub last: AuditHead,
}

/// Notes in the audit that an operator accepts that the audit does not continue what controllers have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptAudit {
    /// The newest line that the operator's controller had seen.
    pub seen: AuditHead,
}

/// Confirms that the note is in the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditAccepted;
