//! `revoked.toml`: which keys were revoked from here, and on which hosts that is still to be done.

use std::collections::BTreeSet;

use lariat_base::name::{EnrolmentId, HostName, KeyId};
use lariat_base::private;
use lariat_base::toml_file;
use lariat_wire::protocol::key::ListedKey;
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::home::{Home, HomeLock};
use crate::inventory::Inventory;
use crate::target::{Chosen, Targets};

/// The file's name.
const FILE: &str = "revoked.toml";

/// Every revocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revocations {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) revoked: Vec<Revocation>,
}

/// One key that was revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revocation {
    /// Its label, or its id, as a person said it.
    pub(crate) name: String,
    /// Its ids, as hosts have told them.
    #[serde(default)]
    pub(crate) ids: BTreeSet<IdText>,
    /// When, in seconds since 1970.
    pub(crate) at: u64,
    /// Whether its jobs go on.
    pub(crate) keep_jobs: bool,
    /// Whether it may be the key that this is done with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) force: bool,
    /// The hosts where it is still to be done.
    #[serde(default)]
    pub(crate) pending: BTreeSet<PendingHost>,
    /// The hosts that have done it.
    #[serde(default)]
    pub(crate) done: BTreeSet<PendingHost>,
    /// Those of them where the key was seen again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) back: BTreeSet<PendingHost>,
}

/// A key's id that is text in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct IdText(pub(crate) KeyId);

impl TryFrom<String> for IdText {
    type Error = lariat_base::name::BadId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

impl From<IdText> for String {
    fn from(IdText(id): IdText) -> Self {
        id.to_string()
    }
}

/// A host in one enrolment: `web1 0123...`
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct PendingHost {
    pub(crate) host: HostName,
    pub(crate) enrolment: EnrolmentId,
}

impl PendingHost {
    /// The hosts of a target, as they are enrolled. One that is not enrolled has no keys.
    pub(crate) fn all(target: &Targets, inventory: &Inventory) -> Result<BTreeSet<Self>, CliError> {
        let enrolled = |chosen: Chosen| {
            let enrolment = inventory.enrolled(&chosen.host).ok()?.1.enrolment;
            Some(Self { host: chosen.host, enrolment })
        };
        Ok(target.select(inventory)?.into_iter().filter_map(enrolled).collect())
    }
}

impl TryFrom<String> for PendingHost {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let bad = "not a host and its enrolment";
        let (host, enrolment) = text.split_once(' ').ok_or(bad)?;
        let (host, enrolment) =
            (host.parse().map_err(|_| bad)?, enrolment.parse().map_err(|_| bad)?);
        Ok(Self { host, enrolment })
    }
}

impl From<PendingHost> for String {
    fn from(PendingHost { host, enrolment }: PendingHost) -> Self {
        format!("{host} {enrolment}")
    }
}

impl Revocations {
    /// Loads the file; without one nothing was revoked.
    pub(crate) fn load(home: &Home) -> Result<Self, CliError> {
        let path = home.path().join(FILE);
        if path.exists() { Ok(toml_file::load(&path)?) } else { Ok(Self::default()) }
    }

    /// Replaces the file.
    pub(crate) fn save(&self, home: &Home, _: &HomeLock) -> Result<(), CliError> {
        let text = toml::to_string(self)?;
        let text = format!(
            "# Keys that were revoked. What is pending is done at the next contact.\n\n{text}"
        );
        Ok(private::replace(&home.path().join(FILE), text.as_bytes())?)
    }

    /// A key is to be revoked on these hosts. One revocation of the same name stands for all.
    pub(crate) fn begin(&mut self, new: Revocation) {
        match self.revoked.iter_mut().find(|old| old.name == new.name) {
            Some(old) => {
                old.pending.extend(new.pending);
                old.done.extend(new.done);
                old.ids.extend(new.ids);
                (old.at, old.keep_jobs, old.force) = (new.at, new.keep_jobs, new.force);
            }
            None => self.revoked.push(new),
        }
    }

    /// A host has done it, and told the key's ids: none if it does not have the key.
    pub(crate) fn done(&mut self, name: &str, host: &PendingHost, ids: &[KeyId]) {
        for revocation in self.revoked.iter_mut().filter(|revocation| revocation.name == name) {
            revocation.pending.remove(host);
            revocation.ids.extend(ids.iter().copied().map(IdText));
            if !ids.is_empty() {
                revocation.done.insert(host.clone());
            }
        }
        // It may have been revoked by another name before.
        for revocation in &mut self.revoked {
            if revocation.name == name || ids.iter().any(|id| revocation.is_of(*id)) {
                revocation.back.remove(host);
            }
        }
    }

    /// What no host knew, and none is left to ask for, was a mistake in writing.
    pub(crate) fn forget_unknown(&mut self, name: &str) {
        self.revoked.retain(|revocation| {
            revocation.name != name || !revocation.ids.is_empty() || !revocation.pending.is_empty()
        });
    }

    /// Whether a key of this name was revoked, and a host had it.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.revoked.iter().any(|revocation| revocation.name == name && !revocation.ids.is_empty())
    }

    /// The key was added to these hosts again on purpose. Where else it is still to be revoked, it will be.
    pub(crate) fn take_back(&mut self, id: KeyId, label: &str, hosts: &BTreeSet<PendingHost>) {
        self.revoked.retain_mut(|revocation| {
            let is_it = revocation.ids.contains(&IdText(id))
                || revocation.name == id.to_string()
                || (revocation.name == label && revocation.ids.is_empty());
            if !is_it {
                return true;
            }
            revocation.pending.retain(|host| !hosts.contains(host));
            revocation.done.retain(|host| !hosts.contains(host));
            revocation.back.retain(|host| !hosts.contains(host));
            !(revocation.pending.is_empty() && revocation.done.is_empty())
        });
    }

    /// What is to be done at this host.
    pub(crate) fn due(&self, host: &PendingHost) -> impl Iterator<Item = &Revocation> {
        self.revoked.iter().filter(move |revocation| revocation.pending.contains(host))
    }

    /// Whether any key was revoked on this host, or is to be.
    pub(crate) fn concern(&self, host: &PendingHost) -> bool {
        let here = |all: &BTreeSet<PendingHost>| all.contains(host);
        self.revoked.iter().any(|revocation| here(&revocation.done) || here(&revocation.pending))
    }

    /// Whether this key of a host was revoked there, or is to be.
    pub(crate) fn name(&self, host: &PendingHost, key: &ListedKey) -> bool {
        self.names(host, ids(key))
    }

    /// A host has these keys and no others. Returns whether that is news of a key that was revoked there.
    fn seen(&mut self, host: &PendingHost, keys: &[KeyId]) -> bool {
        let mut is_news = false;
        for revocation in self.revoked.iter_mut().filter(|it| it.done.contains(host)) {
            let is_there = keys.iter().any(|id| revocation.is_of(*id));
            is_news |= if is_there {
                revocation.back.insert(host.clone())
            } else {
                revocation.back.remove(host)
            };
        }
        is_news
    }

    /// Whether the key of any of these ids was revoked on this host, or is to be.
    fn names(&self, host: &PendingHost, ids: impl IntoIterator<Item = KeyId>) -> bool {
        let here = |revocation: &&Revocation| {
            revocation.done.contains(host) || revocation.pending.contains(host)
        };
        let mut ids = ids.into_iter();
        ids.any(|id| self.revoked.iter().filter(here).any(|revocation| revocation.is_of(id)))
    }
}

impl Revocation {
    fn is_of(&self, id: KeyId) -> bool {
        self.ids.contains(&IdText(id)) || self.name == id.to_string()
    }
}

/// Every id that a key of a host has or had.
pub(crate) fn ids(key: &ListedKey) -> impl Iterator<Item = KeyId> {
    [key.id, key.owner].into_iter().chain(key.was.iter().copied())
}

/// The hosts that have shown their keys, each with the ids of all of them.
pub(crate) type SeenKeys = Vec<(PendingHost, Vec<KeyId>)>;

/// Remembers on which of these hosts a key is that was revoked there.
pub(crate) fn remember(home: &Home, seen: &SeenKeys) -> Result<(), CliError> {
    if seen.is_empty() {
        return Ok(());
    }
    let lock = home.lock()?;
    let mut revocations = Revocations::load(home)?;
    let mut is_news = false;
    for (host, keys) in seen {
        is_news |= revocations.seen(host, keys);
    }
    if is_news { revocations.save(home, &lock) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pending_is_kept_until_the_host_has_done_it() {
        let (_directory, home) = Home::temporary();
        let host = |name: &str| PendingHost {
            host: name.parse().unwrap(),
            enrolment: EnrolmentId([1; 16]),
        };
        let mut revocations = Revocations::load(&home).unwrap();
        assert_eq!(revocations, Revocations::default());
        let new = |name: &str, hosts: &[&str]| Revocation {
            name: name.to_owned(),
            ids: BTreeSet::new(),
            at: 5,
            keep_jobs: false,
            force: false,
            done: BTreeSet::new(),
            back: BTreeSet::new(),
            pending: hosts.iter().map(|name| host(name)).collect(),
        };
        revocations.begin(new("bob", &["web1", "web2"]));
        revocations.begin(new("bbo", &["web1"]));
        revocations.done("bob", &host("web1"), &[KeyId([7; 16])]);
        revocations.done("bbo", &host("web1"), &[]);
        revocations.forget_unknown("bbo");
        revocations.save(&home, &home.lock().unwrap()).unwrap();
        let mut again = Revocations::load(&home).unwrap();
        assert_eq!(again, revocations);
        assert_eq!(again.revoked.len(), 1);
        assert!(again.due(&host("web1")).next().is_none());
        assert_eq!(again.due(&host("web2")).count(), 1);
        let anew = PendingHost { enrolment: EnrolmentId([2; 16]), ..host("web2") };
        assert!(again.due(&anew).next().is_none(), "what was enrolled anew has other keys");
        let [bob, other] = [7, 8].map(|byte| KeyId([byte; 16]));
        assert!(again.names(&host("web1"), [bob]) && again.names(&host("web2"), [bob]));
        assert!(!again.names(&host("web1"), [other]) && !again.names(&host("web3"), [bob]));
        assert!(!again.seen(&host("web1"), &[other]) && !again.seen(&host("web2"), &[bob]));
        assert!(again.seen(&host("web1"), &[other, bob]) && !again.seen(&host("web1"), &[bob]));
        assert_eq!(again.revoked[0].back, BTreeSet::from([host("web1")]));
        assert!(again.seen(&host("web1"), &[]) && again.seen(&host("web1"), &[bob]));
        again.take_back(KeyId([7; 16]), "bob", &BTreeSet::from([host("web1")]));
        assert!(again.revoked[0].back.is_empty());
        assert_eq!(again.due(&host("web2")).count(), 1, "it is added to web1 alone");
        assert!(again.names(&host("web2"), [bob]) && !again.names(&host("web1"), [bob]));
        again.take_back(KeyId([7; 16]), "bob", &BTreeSet::from([host("web2")]));
        assert!(again.revoked.is_empty());
    }
}
