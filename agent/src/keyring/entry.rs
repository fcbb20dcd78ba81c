//! One key of the keyring: who it is, and what it may do.

use std::ops::Deref;
use std::time::SystemTime;

use ipnet::IpNet;
use lariat_base::name::{HostName, KeyId};
use lariat_base::secret::Secret;
use lariat_wire::auth::proof::Verifier;
use lariat_wire::protocol::verb::Verbs;

use crate::policy::Clock;
use crate::policy::path::Root;
use crate::policy::pattern::Pattern;

/// A value of the keyring, and its line there; 0 if it is in none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lined<T> {
    /// The line, from 1.
    pub line: usize,
    /// The value.
    pub value: T,
}

impl<T> Deref for Lined<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A rule that narrows what a verb grants: a list, if the entry has one. An empty list permits nothing.
pub type List<T> = Option<Lined<Vec<T>>>;

/// One key, as this host knows it.
#[derive(Clone)]
pub struct Entry {
    /// The key's id on the wire.
    pub id: KeyId,
    /// The key's name for people.
    pub label: String,
    /// The id under which jobs, partials and budgets are kept: the first that the key had.
    pub owner: KeyId,
    /// The ids that the key had between its first and its present one.
    pub was: Vec<KeyId>,
    /// What the key may do.
    pub verbs: Lined<Verbs>,
    /// The users that the key may act as.
    pub users: List<String>,
    /// Where the key may be used from.
    pub networks: List<IpNet>,
    /// The directories that the key may push to.
    pub push: List<Lined<Root>>,
    /// The directories that the key may pull from.
    pub pull: List<Lined<Root>>,
    /// The commands that the key may run.
    pub commands: List<Lined<Pattern>>,
    /// Whether commands of [`Self::commands`] get input.
    pub stdin: bool,
    /// What the key may reach through this host.
    pub connect: List<Lined<String>>,
    /// Where the key may listen on this host.
    pub listen: List<Lined<String>>,
    /// The host that may park connections here with this key, which then may do nothing else.
    pub park: Option<HostName>,
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
            label: format!("local:{uid}"),
            // No login is checked against the verifier.
            ..Self::new(
                KeyId(id),
                verbs,
                Verifier { stored: Secret::new([0; 32]), agent: Secret::new([0; 32]) },
            )
        }
    }

    fn new(id: KeyId, verbs: Verbs, verifier: Verifier) -> Self {
        Self {
            id,
            label: String::new(),
            owner: id,
            was: Vec::new(),
            verbs: Lined { line: 0, value: verbs },
            users: None,
            networks: None,
            push: None,
            pull: None,
            commands: None,
            stdin: false,
            connect: None,
            listen: None,
            park: None,
            not_before: None,
            not_after: None,
            max_sessions: None,
            max_jobs: None,
            verifier,
        }
    }

    /// Whether the key's dates include this moment. While the clock is not set, only keys without dates count.
    pub fn is_current(&self, clock: Clock) -> bool {
        let has_dates = self.not_before.is_some() || self.not_after.is_some();
        (clock.is_set || !has_dates)
            && self.not_before.is_none_or(|start| start <= clock.now)
            && self.not_after.is_none_or(|end| clock.now <= end)
    }

    /// Whether the key has, or had, this id.
    pub fn is_known_as(&self, id: KeyId) -> bool {
        self.id == id || self.owner == id || self.was.contains(&id)
    }

    /// An entry with these verbs and no dates.
    #[cfg(test)]
    pub(crate) fn for_tests(grant: Verbs) -> Self {
        let secret = || Secret::generate().unwrap();
        let verifier = Verifier { stored: secret(), agent: secret() };
        Self { label: "alice@box".to_owned(), ..Self::new(KeyId([1; 16]), grant, verifier) }
    }
}
