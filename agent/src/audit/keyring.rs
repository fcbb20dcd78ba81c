//! The lines of a keyring that was changed by hand, or by `lariatd key add`: no request has told of that.

use lariat_wire::protocol::verb::Verb;
use serde::Serialize;

use super::Audit;
use super::line::text;
use crate::keyring::{AuditedKey, AuditedKeys};

/// The key that differs, with the verbs that it has now.
#[derive(Serialize)]
struct Differs {
    target: String,
    verbs: Vec<&'static str>,
}

impl Differs {
    fn of(key: &AuditedKey) -> Self {
        Self {
            target: text(format!("{} {}", key.label, key.id).as_bytes()),
            verbs: key.verbs.iter().map(Verb::as_str).collect(),
        }
    }
}

impl Audit {
    /// Writes a line for each key that `new` has, has no more, or has otherwise.
    pub fn keys_changed(&self, old: &AuditedKeys, new: &AuditedKeys) {
        for (event, key) in old.changes(new) {
            self.note(event, &[&Differs::of(key)]);
        }
    }
}
