//! Messages about the keys of a host: see them, and change its keyring.
//!
//! ```text
//! controller          agent
//!   KeyList      →
//!                ←    Keyring, ListedKey... | Failed
//!   KeyAdd | KeyAllow | KeyRevoke | KeyRotate
//!                →
//!                ←    KeyChanged | Failed
//! ```

mod problem;
mod rules;

use lariat_base::name::{EnrolmentId, KeyId, KeyLabel};
use lariat_base::secret::Secret;
use serde::{Deserialize, Serialize};

use crate::auth::proof::Verifier;
use crate::limits::MAX_NAME;
use crate::protocol::invalid::Invalid;

pub use problem::KeyProblem;
pub use rules::Rules;

/// Identifies a content of the keyring's file.
pub type Revision = [u8; 16];

/// Lists the keys of the keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyList;

/// Begins the answer to [`KeyList`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyring {
    /// The keyring's revision.
    pub revision: Revision,
    /// How many [`ListedKey`]s follow.
    pub count: u32,
}

/// A key of the keyring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedKey {
    /// Its id.
    pub id: KeyId,
    /// Its label, which a person may have written.
    pub label: String,
    /// The id under which what it keeps on the host is known: its first.
    pub owner: KeyId,
    /// The ids that it had before.
    pub was: Vec<KeyId>,
    /// The id that waits to take its place.
    pub pending: Option<KeyId>,
    /// What it may do.
    pub rules: Rules,
    /// When it last logged in, in seconds since 1970 by the host's clock, if it ever did.
    pub last_used: Option<u64>,
}

/// What a host checks a key's logins with: good for this enrollment of this host only.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyVerifier {
    /// Checks logins.
    pub stored: Secret,
    /// Proves the agent to the controller.
    pub agent: Secret,
}

impl PartialEq for KeyVerifier {
    fn eq(&self, other: &Self) -> bool {
        self.stored.matches(other.stored.expose()) & self.agent.matches(other.agent.expose())
    }
}

impl Eq for KeyVerifier {}

impl From<Verifier> for KeyVerifier {
    fn from(Verifier { stored, agent }: Verifier) -> Self {
        Self { stored, agent }
    }
}

/// Adds a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyAdd {
    /// The revision that was looked at.
    pub revision: Revision,
    /// The enrollment that the verifier was derived for.
    pub enrolment: EnrolmentId,
    /// The key's id.
    pub id: KeyId,
    /// Its label.
    pub label: KeyLabel,
    /// Its verifier.
    pub verifier: KeyVerifier,
    /// What it may do.
    pub rules: Rules,
    /// Whether it may be one that was revoked.
    pub again: bool,
    /// Whether the keyring is only asked whether it would take it.
    pub dry_run: bool,
}

/// Replaces a key's rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyAllow {
    /// The revision that was looked at.
    pub revision: Revision,
    /// The key's label, or one of its ids.
    pub key: String,
    /// What it may do.
    pub rules: Rules,
    /// Whether the keyring is only asked whether it would take them.
    pub dry_run: bool,
}

/// Removes a key, and ends its sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRevoke {
    /// The key's label, or one of its ids.
    pub key: String,
    /// Whether its jobs go on.
    pub keep_jobs: bool,
    /// Whether it may be the key that asks.
    pub force: bool,
}

/// Replaces the key that asks by another, in two steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyRotate {
    /// Lets a new key log in beside the one that asks, for a day.
    Begin {
        /// The new key's id.
        id: KeyId,
        /// Its verifier.
        verifier: KeyVerifier,
    },
    /// The new key asks: it takes the old one's place.
    Finish,
}

/// The keyring is as the request wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChanged {
    /// The keyring's revision.
    pub revision: Revision,
    /// The label of the key concerned.
    pub label: String,
    /// Its ids, the present one first.
    pub ids: Vec<KeyId>,
    /// Whether the keyring is another than before, or would be.
    pub changed: bool,
}

impl KeyAdd {
    /// Checks what the type can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        self.rules.check()
    }
}

impl KeyAllow {
    /// Checks what the type can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        check_name(&self.key)?;
        self.rules.check()
    }
}

impl KeyRevoke {
    /// Checks what the type can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        check_name(&self.key)
    }
}

/// A person may have written a label of any form into a keyring.
fn check_name(key: &str) -> Result<(), Invalid> {
    if (1..=MAX_NAME).contains(&key.len()) { Ok(()) } else { Err(Invalid::KeyName) }
}
