//! Decides on a change of the keyring, and makes its new text. Pure: what is looked up is told.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lariat_base::clock::seconds;
use lariat_base::name::{EnrolmentId, KeyId};
use lariat_wire::protocol::key::{
    KeyAdd, KeyAllow, KeyProblem, KeyRevoke, KeyRotate, KeyVerifier, Revision,
};
use lariat_wire::protocol::request::KeyRequest;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::here::wrong_root;
use super::{Entry, Keyring, Revoked, edit, is_local};
use crate::policy::Clock;
use crate::policy::networks::{self, Peer};

/// Who asks for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// The key that logged in with this id, from there if it came over a network.
    Key(KeyId, Option<Peer>),
    /// Root, on the host itself.
    Host,
}

impl Asker {
    /// Whether these keys let who asks make the request. A key may always replace itself; a user of this host is in no
    /// keyring.
    pub fn may(self, request: &KeyRequest, keyring: &Keyring, clock: Clock) -> bool {
        let Self::Key(id, _) = self else { return true };
        let may = |entry: &Arc<Entry>| {
            matches!(request, KeyRequest::KeyRotate(_)) || entry.changes_keys(clock)
        };
        is_local(id) || keyring.entry(id).or_else(|| keyring.replaced(id)).is_some_and(may)
    }
}

/// What a change is decided with.
pub(super) struct Present<'a> {
    /// The keyring's file, for messages.
    pub(super) path: &'a Path,
    /// Its text.
    pub(super) text: &'a str,
    /// What was revoked here.
    pub(super) revoked: &'a Revoked,
    /// The agent's own files and directories.
    pub(super) own: &'a [PathBuf],
    /// The host's enrollment.
    pub(super) enrolment: EnrolmentId,
    pub(super) asker: Asker,
    /// Whether the key of this id has logged in here.
    pub(super) has_logged_in: &'a dyn Fn(KeyId) -> bool,
    pub(super) clock: Clock,
}

/// What a change comes to.
pub(super) struct Outcome {
    /// The keyring's new text; `None` if it is right as it is.
    pub(super) text: Option<Zeroizing<String>>,
    /// The keys that may log in then.
    pub(super) keyring: Keyring,
    /// What is revoked then; `None` if that is right as it is.
    pub(super) revoked: Option<Revoked>,
    /// The label of the key concerned.
    pub(super) label: String,
    /// Its ids, the present one first.
    pub(super) ids: Vec<KeyId>,
}

/// Identifies a keyring's text.
pub(super) fn revision(text: &str) -> Revision {
    let hash = Sha256::digest(text.as_bytes());
    std::array::from_fn(|at| hash[at])
}

/// What `request` makes of the keyring.
pub(super) fn decide(request: &KeyRequest, present: &Present<'_>) -> Result<Outcome, KeyProblem> {
    let keyring = present.parse(present.text)?;
    match request {
        KeyRequest::KeyList(_) => Err(KeyProblem::NoSuchKey),
        KeyRequest::KeyAdd(request) => add(request, &keyring, present),
        KeyRequest::KeyAllow(request) => allow(request, &keyring, present),
        KeyRequest::KeyRevoke(request) => revoke(request, &keyring, present),
        KeyRequest::KeyRotate(KeyRotate::Begin { id, verifier }) => {
            begin(*id, verifier, &keyring, present)
        }
        KeyRequest::KeyRotate(KeyRotate::Finish) => finish(&keyring, present),
    }
}

fn add(request: &KeyAdd, keyring: &Keyring, present: &Present<'_>) -> Result<Outcome, KeyProblem> {
    let KeyAdd { id, label, verifier, again, .. } = request;
    if request.enrolment != present.enrolment {
        return Err(KeyProblem::OtherEnrolment);
    }
    if let Some(entry) = holder(keyring, *id) {
        let stays = Outcome::of(entry, None, None, keyring.without(present.revoked));
        // The answer to the same request may have been lost. Rules may be written in more than one way.
        let alone = present.parse(&edit::add("", request)?)?;
        let same = entry.id == *id
            && entry.label == label.as_str()
            && alone.entry(*id).is_some_and(|wanted| wanted.rules() == entry.rules())
            && KeyVerifier::from(entry.verifier.clone()) == *verifier;
        return if same && !present.revoked.names(entry) {
            Ok(stays)
        } else {
            Err(KeyProblem::IdTaken(entry.label.clone()))
        };
    }
    if keyring.entries().any(|entry| entry.label == label.as_str()) {
        return Err(KeyProblem::LabelTaken);
    }
    let revoked = present.revoked.contains(*id).then(|| {
        let mut revoked = present.revoked.clone();
        revoked.remove(*id);
        revoked
    });
    if revoked.is_some() && !again {
        return Err(KeyProblem::Revoked);
    }
    present.is_of(request.revision)?;
    let text = edit::add(present.text, request)?;
    let keyring = present.parse(&text)?.without(revoked.as_ref().unwrap_or(present.revoked));
    let entry = Arc::clone(keyring.entry(*id).ok_or(KeyProblem::NoSuchKey)?);
    present.fits(&entry)?;
    Ok(Outcome::of(&entry, Some(text), revoked, keyring))
}

fn allow(
    request: &KeyAllow,
    keyring: &Keyring,
    present: &Present<'_>,
) -> Result<Outcome, KeyProblem> {
    let entry = keyring.named(&request.key)?;
    let text = edit::allow(present.text, entry.id, &request.rules)?;
    let new = present.parse(&text)?;
    if new.entry(entry.id).is_some_and(|new| new.rules() == entry.rules()) {
        return Ok(Outcome::of(entry, None, None, keyring.without(present.revoked)));
    }
    present.is_of(request.revision)?;
    new.entry(entry.id).map_or(Ok(()), |entry| present.fits(entry))?;
    let new = new.without(present.revoked);
    present.stays_open(keyring, &new)?;
    Ok(Outcome::of(entry, Some(text), None, new))
}

/// Removes the entry, if there is one, and remembers its ids; an id that is asked for is remembered in any case.
fn revoke(
    request: &KeyRevoke,
    keyring: &Keyring,
    present: &Present<'_>,
) -> Result<Outcome, KeyProblem> {
    let KeyRevoke { key, keep_jobs, force } = request;
    let mut revoked = present.revoked.clone();
    let entry = match keyring.named(key) {
        Ok(entry) => entry,
        Err(problem) => {
            let Ok(id) = key.parse::<KeyId>() else { return Err(problem) };
            let changed = !revoked.contains(id);
            revoked.insert(id, *keep_jobs);
            return Ok(Outcome {
                text: None,
                keyring: keyring.without(&revoked),
                revoked: changed.then_some(revoked),
                label: String::new(),
                ids: vec![id],
            });
        }
    };
    let is_own = matches!(present.asker, Asker::Key(id, _) if entry.ids().any(|own| own == id));
    if is_own && !force {
        return Err(KeyProblem::OwnKey);
    }
    entry.ids().for_each(|id| revoked.insert(id, *keep_jobs));
    let text = edit::remove(present.text, entry.id)?;
    let new = present.parse(&text)?.without(&revoked);
    present.stays_open(keyring, &new)?;
    Ok(Outcome::of(entry, Some(text), Some(revoked), new))
}

fn begin(
    id: KeyId,
    verifier: &KeyVerifier,
    keyring: &Keyring,
    present: &Present<'_>,
) -> Result<Outcome, KeyProblem> {
    let entry = present.own(keyring)?;
    if let Some(other) = holder(keyring, id) {
        let waits = other.pending.as_ref().is_some_and(|pending| {
            pending.id == id && pending.is_current(present.clock.now) && pending.has(verifier)
        });
        // The answer to the same request may have been lost, also that to the one behind it.
        if other.id == entry.id && (waits || other.id == id) {
            return Ok(Outcome::of(entry, None, None, keyring.without(present.revoked)));
        }
        let is_stale =
            other.id == entry.id && other.was.iter().chain([&other.owner]).all(|&was| was != id);
        if !is_stale {
            return Err(KeyProblem::IdTaken(other.label.clone()));
        }
    }
    if present.revoked.contains(id) {
        return Err(KeyProblem::Revoked);
    }
    let now = seconds(present.clock.now);
    let text = edit::begin(present.text, entry.id, id, verifier, now)?;
    let new = present.parse(&text)?.without(present.revoked);
    Ok(Outcome::of(entry, Some(text), None, new))
}

fn finish(keyring: &Keyring, present: &Present<'_>) -> Result<Outcome, KeyProblem> {
    let entry = present.own(keyring)?;
    let Asker::Key(id, _) = present.asker else { return Err(KeyProblem::NotPending) };
    if entry.id == id && !entry.was.is_empty() {
        return Ok(Outcome::of(entry, None, None, keyring.without(present.revoked)));
    }
    // It has proved itself by its login.
    if entry.pending.as_ref().is_none_or(|pending| pending.id != id) {
        return Err(KeyProblem::NotPending);
    }
    let text = edit::finish(present.text, entry.id, entry.owner)?;
    let new = present.parse(&text)?.without(present.revoked);
    let entry = Arc::clone(new.entry(id).ok_or(KeyProblem::NotPending)?);
    Ok(Outcome::of(&entry, Some(text), None, new))
}

/// The entry that has this id, whether it is its own, a former one or one that waits.
fn holder(keyring: &Keyring, id: KeyId) -> Option<&Arc<Entry>> {
    keyring.entries().find(|entry| entry.ids().any(|own| own == id))
}

impl Present<'_> {
    fn parse(&self, text: &str) -> Result<Keyring, KeyProblem> {
        Keyring::parse(self.path, text).map_err(|error| KeyProblem::Mistake(error.message))
    }

    /// Refuses an entry with a root that can't be one.
    fn fits(&self, entry: &Entry) -> Result<(), KeyProblem> {
        wrong_root(entry, self.own).map_or(Ok(()), |(_, why)| Err(KeyProblem::Mistake(why)))
    }

    fn is_of(&self, wanted: Revision) -> Result<(), KeyProblem> {
        if wanted == revision(self.text) { Ok(()) } else { Err(KeyProblem::Stale) }
    }

    /// The entry of the key that asks.
    fn own<'a>(&self, keyring: &'a Keyring) -> Result<&'a Arc<Entry>, KeyProblem> {
        let Asker::Key(id, _) = self.asker else { return Err(KeyProblem::NoSuchKey) };
        let entry = keyring.entry(id).ok_or(KeyProblem::NoSuchKey)?;
        if self.revoked.names(entry) { Err(KeyProblem::Revoked) } else { Ok(entry) }
    }

    /// Refuses a change that locks everybody out. Where no key could change keys for good before, the key that asks
    /// is enough: it can still revoke another.
    fn stays_open(&self, before: &Keyring, after: &Keyring) -> Result<(), KeyProblem> {
        let (asker, from) = match self.asker {
            Asker::Key(id, from) => (Some(id), from),
            Asker::Host => (None, None),
        };
        // From where else a key could log in is not known, but for the networks that it had.
        let is_let_in = |entry: &Entry| {
            let had = before.entry(entry.id).and_then(|entry| entry.networks.as_ref());
            entry.networks.as_ref().is_none_or(|networks| {
                had.is_some_and(|had| had.value == networks.value)
                    || from.is_some_and(|from| networks::include(networks, from))
            })
        };
        let is_open = |keyring: &Keyring| {
            let has_logged_in =
                |entry: &Entry| asker == Some(entry.id) || (self.has_logged_in)(entry.id);
            let keeps_open = |entry: &Entry| {
                entry.changes_keys(self.clock) && entry.not_after.is_none() && is_let_in(entry)
            };
            keyring.entries().any(|entry| keeps_open(entry) && has_logged_in(entry))
        };
        let can_ask = |entry: &Arc<Entry>| entry.changes_keys(self.clock) && is_let_in(entry);
        let asks_on = asker.is_none_or(|id| after.entry(id).is_some_and(can_ask));
        let was_open = is_open(&before.without(self.revoked));
        if is_open(after) || (!was_open && asks_on) { Ok(()) } else { Err(KeyProblem::LockedOut) }
    }
}

impl Outcome {
    /// A change of this entry.
    fn of(
        entry: &Entry,
        text: Option<Zeroizing<String>>,
        revoked: Option<Revoked>,
        keyring: Keyring,
    ) -> Self {
        let mut ids: Vec<KeyId> = Vec::new();
        for id in entry.ids() {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        Self { text, keyring, revoked, label: entry.label.clone(), ids }
    }
}
