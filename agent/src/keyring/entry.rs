//! One key of the keyring: who it is, and what it may do.

use std::ops::Deref;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use lariat_base::clock::seconds;
use lariat_base::name::{HostName, KeyId};
use lariat_base::secret::Secret;
use lariat_wire::auth::proof::Verifier;
use lariat_wire::codec;
use lariat_wire::protocol::key::{KeyVerifier, Rules};
use lariat_wire::protocol::verb::{Verb, Verbs};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::policy::Clock;
use crate::policy::bind::Bind;
use crate::policy::path::Root;
use crate::policy::pattern::Pattern;
use crate::policy::place::Place;

/// How long a key may wait to take an entry over.
const PENDING: Duration = Duration::from_secs(24 * 3600);

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
    /// The ids that the key had before.
    pub was: Vec<KeyId>,
    /// The key that waits to take this entry over.
    pub pending: Option<Pending>,
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
    pub connect: List<Lined<Place>>,
    /// Where the key may listen on this host.
    pub listen: List<Lined<Bind>>,
    /// The host that may park connections here with this key, which then may do nothing else.
    pub park: Option<Lined<HostName>>,
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

/// A key that may log in beside the entry's own, and take its place.
#[derive(Clone)]
pub struct Pending {
    /// Its id on the wire.
    pub id: KeyId,
    pub(super) verifier: Verifier,
    /// When it was announced.
    pub(super) since: SystemTime,
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
            label: Self::local_label(KeyId(id)),
            // No login is checked against the verifier.
            ..Self::new(
                KeyId(id),
                verbs,
                Verifier { stored: Secret::new([0; 32]), agent: Secret::new([0; 32]) },
            )
        }
    }

    /// The label of the user of this host that this id stands for: `local:UID`.
    pub fn local_label(id: KeyId) -> String {
        let uid = id.0.last_chunk().map_or(0, |uid| u32::from_be_bytes(*uid));
        format!("local:{uid}")
    }

    fn new(id: KeyId, verbs: Verbs, verifier: Verifier) -> Self {
        Self {
            id,
            label: String::new(),
            owner: id,
            was: Vec::new(),
            pending: None,
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

    /// A hash of all that lets keys log in by this entry, and of what they may do.
    pub fn fingerprint(&self) -> [u8; 32] {
        let pending = self.pending.as_ref().map(|pending| pending.id);
        let verifier = KeyVerifier::from(self.verifier.clone());
        let all = (&self.label, self.id, &self.was, pending, self.rules(), verifier);
        // Only an entry of more than a MiB has no bytes.
        Sha256::digest(Zeroizing::new(codec::encode(&all).unwrap_or_default())).into()
    }

    /// Every id that stands for this entry: its own first, then former ones, its owner's and the one that waits. Some
    /// may come twice.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        let others = self.was.iter().copied().chain([self.owner]);
        std::iter::once(self.id).chain(others).chain(self.pending.iter().map(|pending| pending.id))
    }

    /// Whether a person who says `name` means this key: its label, or one of its ids.
    pub fn is_named(&self, name: &str) -> bool {
        self.label == name || name.parse().is_ok_and(|id| self.ids().any(|own| own == id))
    }

    /// What a login of this id is checked with, and whether it may still log in for this entry.
    pub(super) fn verifier(&self, id: KeyId, now: SystemTime) -> (&Verifier, bool) {
        match &self.pending {
            Some(pending) if pending.id == id => (&pending.verifier, pending.is_current(now)),
            _ => (&self.verifier, true),
        }
    }

    /// Whether the key may change keys now.
    pub(super) fn changes_keys(&self, clock: Clock) -> bool {
        self.verbs.contains(Verb::Keys) && self.is_current(clock)
    }

    /// The rules, as controllers are told them.
    pub fn rules(&self) -> Rules {
        let limit = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
        let commands = self
            .commands
            .as_ref()
            .map(|commands| commands.iter().map(|pattern| pattern.written.clone()).collect());
        Rules {
            verbs: *self.verbs,
            users: self.users.as_deref().cloned(),
            networks: texts(self.networks.as_ref(), ToString::to_string),
            not_before: self.not_before.map(seconds),
            not_after: self.not_after.map(seconds),
            push: texts(self.push.as_ref(), |root| root.to_text()),
            pull: texts(self.pull.as_ref(), |root| root.to_text()),
            commands,
            stdin: self.stdin,
            connect: texts(self.connect.as_ref(), |to| to.value.to_string()),
            listen: texts(self.listen.as_ref(), |at| at.value.to_string()),
            max_sessions: self.max_sessions.map(limit),
            max_jobs: self.max_jobs.map(limit),
            park: self.park.as_ref().map(|park| park.value.clone()),
        }
    }

    /// An entry with these verbs and no dates.
    #[cfg(test)]
    pub(crate) fn for_tests(grant: Verbs) -> Self {
        let secret = || Secret::generate().unwrap();
        let verifier = Verifier { stored: secret(), agent: secret() };
        Self { label: "alice@box".to_owned(), ..Self::new(KeyId([1; 16]), grant, verifier) }
    }
}

/// A list as text.
fn texts<T>(list: Option<&Lined<Vec<T>>>, text: impl Fn(&T) -> String) -> Option<Vec<String>> {
    list.map(|list| list.iter().map(text).collect())
}

impl Pending {
    /// Whether it may still log in.
    pub(super) fn is_current(&self, now: SystemTime) -> bool {
        now.duration_since(self.since).is_ok_and(|age| age < PENDING)
    }

    /// Whether this is its verifier.
    pub(super) fn has(&self, verifier: &KeyVerifier) -> bool {
        KeyVerifier::from(self.verifier.clone()) == *verifier
    }
}
