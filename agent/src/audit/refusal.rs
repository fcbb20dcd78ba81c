//! What is refused: requests of keys that may not make them, and logins that fail.

use lariat_wire::auth::agent::Refused;
use serde::Serialize;

use super::line::{key, owner, text};
use crate::keyring::Entry;
use crate::transport::Origin;

/// Refusals of one kind, of which the first in a minute has a line and the others are counted. A stranger can cause
/// few kinds only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Refusal {
    #[serde(skip)]
    pub(super) event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    rule: String,
}

/// The rule of a refusal alone.
#[derive(Serialize)]
pub struct Rule<'a> {
    rule: &'a str,
}

/// What is known of a login that failed.
#[derive(Serialize)]
pub struct FailedLogin {
    origin: String,
    error: String,
}

impl Refusal {
    /// A refused request of this key.
    pub fn of_request(key: &Entry, rule: &str) -> Self {
        Self::new("denied", Some(key), rule)
    }

    /// A login that failed, of this key if it is in the keyring.
    pub fn of_login(key: Option<&Entry>, refused: &Refused) -> Self {
        let rule = match refused {
            Refused::Key(_) if key.is_some() => "proof",
            Refused::Key(_) => "key",
            Refused::Now(_) => "dates, networks",
            Refused::Malformed | Refused::Version | Refused::Randomness(_) => "login",
        };
        Self::new("login failed", key, rule)
    }

    fn new(event: &'static str, entry: Option<&Entry>, rule: &str) -> Self {
        let label = entry.map(|entry| text(entry.label.as_bytes()));
        let owner = entry.and_then(owner);
        Self { event, key: entry.map(key), owner, label, rule: text(rule.as_bytes()) }
    }

    /// The rule alone, for a line that has the key already.
    pub fn rule(&self) -> Rule<'_> {
        Rule { rule: &self.rule }
    }
}

impl FailedLogin {
    /// A login from this address that failed for this reason.
    pub fn new(peer: &Origin, why: &str) -> Self {
        Self { origin: peer.to_string(), error: text(why.as_bytes()) }
    }
}
