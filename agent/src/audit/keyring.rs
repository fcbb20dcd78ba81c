//! The lines of a keyring that was changed by hand, or by `lariatd key add`: no request has told of that.

use serde::Serialize;

use super::Audit;
use super::line::text;
use super::rules::Given;
use crate::keyring::{AuditedKey, AuditedKeys, KeyChange};

/// The key that differs, with what it may do now, or last might.
#[derive(Serialize)]
struct Differs {
    target: String,
    #[serde(flatten)]
    rules: Given,
}

impl Differs {
    fn of(key: &AuditedKey, rules: Given) -> Self {
        Self { target: text(format!("{} {}", key.label, key.id).as_bytes()), rules }
    }
}

impl Audit {
    /// Writes a line for each key that `new` has, has no more, or has otherwise.
    pub fn keys_changed(&self, old: &AuditedKeys, new: &AuditedKeys) {
        for change in old.changes(new) {
            let (event, differs) = match change {
                KeyChange::Added(key) => ("key added", Differs::of(key, Given::of(&key.rules))),
                KeyChange::Changed(key) => ("key changed", Differs::of(key, Given::of(&key.rules))),
                // Its rules were told when it got them, and may be remembered no longer.
                KeyChange::Removed(key) => {
                    ("key removed", Differs::of(key, Given::verbs(key.rules.verbs)))
                }
            };
            self.note(event, &[&differs]);
        }
    }
}
