//! Messages of a status: how a host and its agent are.
//!
//! ```text
//! controller          agent
//!   Status       →
//!                ←    HostStatus, or Failed
//! ```
//!
//! What is [`Grown`] may get further fields, at its end. [`MemoryUse`] is not.

use lariat_base::name::{JobId, KeyId, SessionId};
use serde::{Deserialize, Serialize};

use super::audit::AuditHead;
use super::note::Note;
use crate::grown::Grown;

/// Asks the agent how its host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status;

/// Answers [`Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// How the host is.
    pub report: Grown<Report>,
}

/// How a host and its agent are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The agent's version.
    pub version: String,
    /// The kernel's name and release.
    pub kernel: String,
    /// The host's clock when it answered, in milliseconds since 1970.
    pub time_ms: u64,
    /// How long the host has been up, in milliseconds.
    pub up_ms: u64,
    /// How long the agent has run, in milliseconds.
    pub agent_ms: u64,
    /// Processors that are online.
    pub processors: u32,
    /// The load of the last 1, 5 and 15 minutes, in hundredths.
    pub load: [u32; 3],
    /// The memory.
    pub memory: MemoryUse,
    /// The end of the host's certificate, in seconds since 1970.
    pub certificate_end: i64,
    /// The newest line of the audit on disk.
    pub audit: AuditHead,
    /// File systems on disks of the host.
    pub disks: Vec<Grown<Disk>>,
    /// What all keys together may use of the agent.
    pub limits: Vec<Grown<LimitUse>>,
    /// Sessions, the oldest first.
    pub sessions: Vec<Grown<SessionStatus>>,
    /// Running jobs, the oldest first.
    pub jobs: Vec<Grown<RunningJob>>,
    /// Transfers, the oldest first.
    pub transfers: Vec<Grown<TransferStatus>>,
    /// The number of sessions, jobs and transfers that are not listed, because there are too many.
    pub unlisted: u32,
    /// Notes, the oldest first.
    pub notes: Vec<Grown<Note>>,
}

impl Report {
    /// Most items of each list.
    pub const MOST: usize = 1000;
}

/// A host's memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryUse {
    /// All of it.
    pub total: u64,
    /// What programs can get without swapping.
    pub available: u64,
    /// All swap space.
    pub swap: u64,
    /// Unused swap space.
    pub swap_free: u64,
}

/// A file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Where it is mounted.
    pub path: Vec<u8>,
    /// Its type: `ext4`.
    pub kind: String,
    /// Its size in bytes.
    pub size: u64,
    /// What users other than root can write to it, in bytes.
    pub free: u64,
    /// Files that it can have; 0 if it has no such limit.
    pub files: u64,
    /// Files that can be created.
    pub files_free: u64,
    /// It did not answer in time: the figures are zero.
    pub is_silent: bool,
}

/// What all keys together use of something that is limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitUse {
    /// What: `sessions`, `jobs`, or `memory` in bytes.
    pub name: String,
    /// How much of it is used.
    pub used: u64,
    /// How much of it there is.
    pub total: u64,
    /// How often somebody was refused for it since the agent's start.
    pub refusals: u64,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// Its id, as the audit has it.
    pub session: SessionId,
    /// The first id of its key.
    pub key: KeyId,
    /// The key's label.
    pub label: String,
    /// Where it comes from.
    pub origin: String,
    /// When it began, in milliseconds since 1970.
    pub since_ms: u64,
    /// The verb of the request that it serves; empty if it serves none.
    pub doing: String,
}

/// Which other keys have sessions, as a login shell begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OthersHere {
    /// The newest session of each other key.
    pub others: Vec<Grown<SessionStatus>>,
}

/// A running job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningJob {
    /// Its id.
    pub job: JobId,
    /// The first id of its key.
    pub key: KeyId,
    /// The key's label.
    pub label: String,
    /// When it began, in milliseconds since 1970.
    pub since_ms: u64,
    /// Whether it is detached.
    pub is_detached: bool,
    /// The user that it runs as, if not the agent's own.
    pub user: Option<String>,
    /// The beginning of its command, if the key may see that.
    pub command: Option<Vec<u8>>,
}

/// A transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferStatus {
    /// The first id of its key.
    pub key: KeyId,
    /// The key's label.
    pub label: String,
    /// When it began, in milliseconds since 1970.
    pub since_ms: u64,
    /// Whether files come to the host.
    pub is_push: bool,
    /// The user that it is done as, if not the agent's own.
    pub user: Option<String>,
    /// The path on the host, if the key may see that.
    pub path: Option<Vec<u8>>,
    /// Bytes of its files, as far as they are known.
    pub total: u64,
    /// Bytes that the receiver had already.
    pub had: u64,
    /// Bytes that were moved.
    pub moved: u64,
}
