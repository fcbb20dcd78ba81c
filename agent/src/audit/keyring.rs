//! The lines of a keyring that was changed by hand, or by `lariatd key add`: no request has told of that.

use lariat_wire::protocol::verb::Verb;
use serde::Serialize;

use super::Audit;
use super::line::text;
use crate::keyring::{Entry, Keyring};

/// The key that differs, with the verbs that it has now.
#[derive(Serialize)]
struct Differs {
    target: String,
    verbs: Vec<&'static str>,
}

impl Differs {
    fn of(key: &Entry) -> Self {
        Self {
            target: text(format!("{} {}", key.label, key.id).as_bytes()),
            verbs: key.verbs.iter().map(Verb::as_str).collect(),
        }
    }
}

impl Audit {
    /// Writes a line for each key that `new` has, has no more, or has otherwise.
    pub fn keyring_is_read(&self, old: &Keyring, new: &Keyring) {
        for key in new.entries() {
            match old.of_owner(key.owner) {
                None => self.note("key added", &[&Differs::of(key)]),
                Some(known) if !known.is_same(key) => {
                    self.note("key changed", &[&Differs::of(key)]);
                }
                Some(_) => {}
            }
        }
        for key in old.entries().filter(|key| new.of_owner(key.owner).is_none()) {
            self.note("key removed", &[&Differs::of(key)]);
        }
    }
}
