//! Messages that replace a host's agent by another version, and keep it only once somebody has logged in to it.
//!
//! ```text
//! controller          agent
//!   Upgrade      →
//!                ←    Upgrading: Send | Unchanged | Refused | Begun, or Failed
//!   SendAgent    →                              after Send: the file, as of a Push; then Upgrade again
//!                ←    Have … Done | Failed
//!   Confirm      →                              after Begun, on new connections, until it is over
//!                ←    UpgradeState | Failed
//! ```

use lariat_base::name::{TransferId, UpgradeId};
use serde::{Deserialize, Serialize};

use crate::protocol::invalid::Invalid;
use crate::protocol::transfer::Offer;

/// Asks the agent to let a new one take its place. It may be repeated: an upgrade of this id begins once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// The upgrade.
    pub id: UpgradeId,
    /// The new agent's size in bytes.
    pub size: u64,
    /// The new agent's SHA-256.
    pub sha256: [u8; 32],
    /// Whether an older version, or another build of the same version, is taken too.
    pub downgrade: bool,
}

/// Answers [`Upgrade`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrading {
    /// The version of the agent that answers; after [`Step::Begun`], of the one that is to be replaced.
    pub version: String,
    /// What comes next.
    pub step: Step,
}

/// What comes next in an upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The agent needs the file: [`SendAgent`].
    Send,
    /// There is nothing to do.
    Unchanged,
    /// The agent stays as it is. Why, in a sentence.
    Refused(String),
    /// The new agent was checked, and is about to be started.
    Begun {
        /// Its version.
        to: String,
        /// How long it has to be confirmed, in milliseconds.
        limit_ms: u64,
    },
}

/// Sends the new agent. The dialogue is that of a push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendAgent {
    /// The transfer.
    pub transfer: TransferId,
    /// The file.
    pub offer: Offer,
}

/// Confirms an upgrade, if the new agent receives it, and asks how it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {
    /// The upgrade.
    pub id: UpgradeId,
}

/// Answers [`Confirm`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeState {
    /// The version of the agent that answers.
    pub version: String,
    /// How the upgrade stands.
    pub standing: Standing,
}

/// How an upgrade stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// This agent knows no such upgrade.
    Unknown,
    /// The new agent does not run yet.
    Waiting,
    /// The new agent stays.
    Confirmed,
    /// The former agent is back. Why, in a sentence.
    Restored(String),
}

impl SendAgent {
    /// Checks what the type can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        self.offer.check()
    }
}
