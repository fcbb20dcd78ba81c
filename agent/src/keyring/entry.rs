//! One key of the keyring: who it is, and what it may do.

use std::time::SystemTime;

use lariat_base::name::KeyId;
use lariat_base::secret::Secret;
use lariat_wire::auth::proof::Verifier;
use lariat_wire::protocol::verb::Verbs;

/// One key, as this host knows it.
#[derive(Clone)]
pub struct Entry {
    /// The key's id on the wire.
    pub id: KeyId,
    /// The key's name for people.
    pub label: String,
    /// What the key may do.
    pub verbs: Verbs,
    /// The users that the key may act as; any user if there is no list.
    pub users: Option<Vec<String>>,
    /// The first moment at which the key may be used.
    pub not_before: Option<SystemTime>,
    /// The last moment at which the key may be used.
    pub not_after: Option<SystemTime>,
    /// The key's own limit on concurrent sessions, if any.
    pub max_sessions: Option<usize>,
    /// The key's own limit on concurrent jobs, if any.
    pub max_jobs: Option<usize>,
    pub(super) verifier: Verifier,
}

/// The first bytes of the ids that stand for users of this host.
const LOCAL: [u8; 12] = *b"local user\0\0";

/// Whether this id stands for a user of this host, rather than for a key of a keyring.
pub fn is_local(id: KeyId) -> bool {
    id.0.starts_with(&LOCAL)
}

impl Entry {
    /// The entry for a process on this host that runs as `uid`.
    pub fn local(uid: u32, verbs: Verbs) -> Self {
        let mut id = [0; 16];
        id[..LOCAL.len()].copy_from_slice(&LOCAL);
        id[LOCAL.len()..].copy_from_slice(&uid.to_be_bytes());
        Self {
            id: KeyId(id),
            label: format!("local:{uid}"),
            verbs,
            users: None,
            not_before: None,
            not_after: None,
            max_sessions: None,
            max_jobs: None,
            // No login is checked against it.
            verifier: Verifier { stored: Secret::new([0; 32]), agent: Secret::new([0; 32]) },
        }
    }

    /// Whether the key may act as this user.
    pub fn may_be(&self, user: &str) -> bool {
        self.users.as_ref().is_none_or(|users| users.iter().any(|listed| listed == user))
    }

    /// Whether the key's dates include this moment.
    pub fn is_current(&self, now: SystemTime) -> bool {
        self.not_before.is_none_or(|start| start <= now)
            && self.not_after.is_none_or(|end| now <= end)
    }

    /// An entry with these verbs and no dates.
    #[cfg(test)]
    pub(crate) fn for_tests(grant: Verbs) -> Self {
        let secret = || Secret::generate().unwrap();
        let verifier = Verifier { stored: secret(), agent: secret() };
        let label = "alice@box".to_owned();
        Self {
            id: KeyId([1; 16]),
            label,
            verbs: grant,
            users: None,
            not_before: None,
            not_after: None,
            max_sessions: None,
            max_jobs: None,
            verifier,
        }
    }
}
