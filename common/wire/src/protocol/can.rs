//! Asks what a key may do. The function that decides on requests answers, and nothing is done.

use serde::{Deserialize, Serialize};

use super::invalid::Invalid;
use crate::limits::MAX_NAME;

/// Asks whether a key may make a request, or for all that it may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Can {
    /// The key's label or one of its ids; the session's own key if there is none.
    pub key: Option<String>,
    /// The request. Without one, [`Permissions`] is the answer.
    pub request: Option<Asked>,
}

/// The frame of a request that is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Its kind.
    pub kind: u16,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// Whether the key may make the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether it may.
    pub allowed: bool,
    /// What decided: `keyring.toml:14` if it may, else the name of a rule.
    pub rule: String,
    /// Why it may not, or what the permission holds for, if not for every place that the key is used from.
    pub why: String,
}

/// Everything that a key may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// One rule a line, as text.
    pub lines: Vec<String>,
}

impl Can {
    /// Checks what the types can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        let is_name = |name: &String| (1..=MAX_NAME).contains(&name.len()) && !name.contains('\0');
        if self.key.as_ref().is_none_or(is_name) { Ok(()) } else { Err(Invalid::Key) }
    }
}
