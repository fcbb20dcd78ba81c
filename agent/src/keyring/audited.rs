//! `STATE/audited-keys`: the keys that the audit knows of. What changes them while the agent is not there is in the audit
//! after its next start.

use std::collections::BTreeMap;
use std::path::Path;

use lariat_base::escape::escape;
use lariat_base::name::KeyId;
use lariat_base::private::{self, PrivateError};
use lariat_wire::protocol::key::Rules;
use lariat_wire::protocol::verb::Verbs;

use super::{Entry, Keyring};

/// The file's name.
const FILE: &str = "audited-keys";

/// Keys, each by its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditedKeys(BTreeMap<KeyId, AuditedKey>);

/// A key, without what is secret of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditedKey {
    /// Its id.
    pub id: KeyId,
    /// Its label, escaped.
    pub label: String,
    /// What it may do. Of a key that is only remembered the verbs are known.
    pub rules: Rules,
    /// See [`Entry::fingerprint`].
    fingerprint: [u8; 32],
}

/// How a key differs from before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyChange<'a> {
    /// It is new.
    Added(&'a AuditedKey),
    /// It is another than it was.
    Changed(&'a AuditedKey),
    /// It is there no more.
    Removed(&'a AuditedKey),
}

impl From<&Entry> for AuditedKey {
    fn from(key: &Entry) -> Self {
        let label = escape(key.label.as_bytes());
        Self { id: key.id, label, rules: key.rules(), fingerprint: key.fingerprint() }
    }
}

impl AuditedKeys {
    /// The keys of a keyring.
    pub fn of(keyring: &Keyring) -> Self {
        Self(keyring.entries().map(|key| (key.owner, key.as_ref().into())).collect())
    }

    /// Loads the file of an agent's state directory; `None` if none was written yet.
    pub fn load(state: &Path) -> Option<Self> {
        let text = private::read(&state.join(FILE)).ok()?;
        Some(Self(text.lines().filter_map(parse).collect()))
    }

    /// Replaces the file.
    pub fn save(&self, state: &Path) -> Result<(), PrivateError> {
        let lines = self.0.iter().map(|(owner, key)| {
            let AuditedKey { id, label, rules, fingerprint } = key;
            format!("{owner} {id} {} {} {label}\n", rules.verbs.bits(), hex::encode(fingerprint))
        });
        private::replace(&state.join(FILE), lines.collect::<String>().as_bytes())
    }

    /// What makes these keys `new`.
    pub fn changes<'a>(&'a self, new: &'a Self) -> impl Iterator<Item = KeyChange<'a>> {
        let present = new.0.iter().filter_map(|(owner, key)| match self.0.get(owner) {
            None => Some(KeyChange::Added(key)),
            Some(known) if known.fingerprint != key.fingerprint => Some(KeyChange::Changed(key)),
            Some(_) => None,
        });
        let gone = self.0.iter().filter(|(owner, _)| !new.0.contains_key(owner));
        present.chain(gone.map(|(_, key)| KeyChange::Removed(key)))
    }
}

fn parse(line: &str) -> Option<(KeyId, AuditedKey)> {
    let mut words = line.splitn(5, ' ');
    let mut word = || words.next();
    let (owner, id) = (word()?.parse().ok()?, word()?.parse().ok()?);
    let rules = Rules { verbs: Verbs::from_bits(word()?.parse().ok()?), ..Rules::default() };
    let mut fingerprint = [0; 32];
    hex::decode_to_slice(word()?, &mut fingerprint).ok()?;
    Some((owner, AuditedKey { id, label: word()?.to_owned(), rules, fingerprint }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(all: &[(u8, u32, u8)]) -> AuditedKeys {
        let key = |&(owner, verbs, fingerprint)| {
            let (id, label) = (KeyId([owner; 16]), format!("key {owner}"));
            let rules = Rules { verbs: Verbs::from_bits(verbs), ..Rules::default() };
            (id, AuditedKey { id, label, rules, fingerprint: [fingerprint; 32] })
        };
        AuditedKeys(all.iter().map(key).collect())
    }

    #[test]
    fn what_was_saved_is_compared_with_what_is_there_later() {
        let state = crate::private_directory();
        assert_eq!(AuditedKeys::load(state.path()), None);
        let old = keys(&[(1, 1, 1), (2, 3, 2), (3, 1, 3)]);
        old.save(state.path()).unwrap();
        assert_eq!(AuditedKeys::load(state.path()), Some(old.clone()));
        let new = keys(&[(1, 1, 1), (2, 1, 9), (4, 1, 4)]);
        let key = |owner| &new.0[&KeyId([owner; 16])];
        let gone = KeyChange::Removed(&old.0[&KeyId([3; 16])]);
        let changes: Vec<_> = old.changes(&new).collect();
        assert_eq!(changes, [KeyChange::Changed(key(2)), KeyChange::Added(key(4)), gone]);
        assert_eq!(new.changes(&new).count(), 0);
        private::replace(&state.path().join(FILE), b"nonsense\n").unwrap();
        assert_eq!(AuditedKeys::load(state.path()), Some(AuditedKeys::default()));
    }
}
