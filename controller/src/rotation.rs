//! A rotation that is under way: `keys/LABEL.next` has the new key, and which hosts have it already. The old one stays
//! in `keys/LABEL.key` until all of them have.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use lariat_base::name::{EnrolmentId, HostName, KeyId, KeyLabel};
use lariat_base::private;
use lariat_base::secret::Secret;
use lariat_base::toml_file::{self, TomlFileError, from_text, secret};
use lariat_client::{KeySource, Peer};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::error::CliError;
use crate::home::{Home, HomeLock};
use crate::inventory::Inventory;
use crate::key::{self, ControllerKey};

/// Hosts, each in one enrolment.
pub(crate) type Enrolments = BTreeSet<(HostName, EnrolmentId)>;

/// A rotation.
#[derive(Clone)]
pub(crate) struct Rotation {
    /// The new key.
    pub(crate) next: ControllerKey,
    /// The hosts that have confirmed it.
    pub(crate) done: Enrolments,
    /// The hosts that were asked to take it.
    asked: Enrolments,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NextFile {
    #[serde(deserialize_with = "from_text")]
    id: KeyId,
    #[serde(deserialize_with = "from_text")]
    label: KeyLabel,
    #[serde(deserialize_with = "secret")]
    secret: Secret,
    #[serde(default)]
    done: Vec<Listed>,
    #[serde(default)]
    asked: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    host: HostName,
    #[serde(deserialize_with = "from_text")]
    enrolment: EnrolmentId,
}

impl Rotation {
    /// The rotation of this key, if one is under way.
    pub(crate) fn load(home: &Home, label: &KeyLabel) -> Result<Option<Self>, CliError> {
        let path = file(home, label);
        // Another process may end the rotation at any moment.
        let NextFile { id, label, secret, done, asked } = match toml_file::load(&path) {
            Err(TomlFileError::Private(error)) if error.is_not_there() => return Ok(None),
            loaded => loaded?,
        };
        let next = ControllerKey { id, label, secret }.checked(&path)?;
        let set = |list: Vec<Listed>| {
            list.into_iter().map(|listed| (listed.host, listed.enrolment)).collect()
        };
        Ok(Some(Self { next, done: set(done), asked: set(asked) }))
    }

    /// The rotation that is under way, or a new one, of which these hosts are about to be asked.
    pub(crate) fn begin(
        home: &Home,
        _: &HomeLock,
        label: &KeyLabel,
        hosts: Enrolments,
    ) -> Result<Self, CliError> {
        let mut rotation = match Self::load(home, label)? {
            Some(rotation) => rotation,
            None => Self {
                next: ControllerKey::generate(label.clone())?,
                done: Enrolments::new(),
                asked: Enrolments::new(),
            },
        };
        rotation.asked.extend(hosts);
        // Whole or not at all, for every command reads it.
        private::replace(&file(home, label), rotation.to_toml().as_bytes())?;
        Ok(rotation)
    }

    /// Writes down that these hosts have confirmed. Once all of the fleet have, the new key takes the old one's place;
    /// returns those that have not.
    pub(crate) fn confirmed(
        home: &Home,
        _: &HomeLock,
        label: &KeyLabel,
        hosts: &Enrolments,
    ) -> Result<Vec<HostName>, CliError> {
        let Some(mut rotation) = Self::load(home, label)? else { return Ok(Vec::new()) };
        rotation.done.extend(hosts.iter().cloned());
        let left = rotation.left(&Inventory::load(home)?);
        let path = file(home, label);
        if left.is_empty() {
            // In this order, so that a key that works is there at every moment.
            private::replace(&key::file(home, label), rotation.next.to_toml().as_bytes())?;
            std::fs::remove_file(&path)
                .map_err(|e| CliError::from(e).during(format!("remove {}", path.display())))?;
        } else {
            private::replace(&path, rotation.to_toml().as_bytes())?;
        }
        Ok(left)
    }

    /// The hosts that have not confirmed it.
    pub(crate) fn left(&self, inventory: &Inventory) -> Vec<HostName> {
        let enrolled = inventory
            .iter()
            .filter_map(|(name, host)| Some((name.clone(), host.enrolled?.enrolment)));
        enrolled.filter(|host| !self.done.contains(host)).map(|(name, _)| name).collect()
    }

    /// The hosts that were asked and have not confirmed it; if all of them have, those that were not asked.
    pub(crate) fn due(&self, inventory: &Inventory) -> Vec<HostName> {
        let left = self.left(inventory);
        let is_asked = |host: &&HostName| self.asked.iter().any(|(asked, _)| asked == *host);
        let asked: Vec<HostName> = left.iter().filter(is_asked).cloned().collect();
        if asked.is_empty() { left } else { asked }
    }

    fn to_toml(&self) -> Zeroizing<String> {
        let key = self.next.to_toml();
        let listed = self.done.len() + self.asked.len();
        let mut text = Zeroizing::new(String::with_capacity(2048 + 160 * listed));
        let list = |name: &'static str, hosts: &Enrolments| -> String {
            let table = |(host, enrolment): &(HostName, EnrolmentId)| {
                format!("\n[[{name}]]\nhost = \"{host}\"\nenrolment = \"{enrolment}\"\n")
            };
            hosts.iter().map(table).collect()
        };
        write!(
            text,
            "# Takes the place of the key of this label: lariat key rotate all goes on with it.\n{}{}{}",
            key.as_str(),
            list("done", &self.done),
            list("asked", &self.asked)
        )
        .expect("a String takes what is written to it");
        text
    }
}

fn file(home: &Home, label: &KeyLabel) -> PathBuf {
    home.keys_directory().join(format!("{label}.next"))
}

/// A key, and the one that is about to take its place: at each host the one that it has.
pub(crate) struct KeyChain {
    home: Home,
    current: ControllerKey,
    rotation: Option<Rotation>,
}

impl KeyChain {
    /// The key of this label, or else the default one.
    pub(crate) fn load(home: &Home, label: Option<&KeyLabel>) -> Result<Arc<Self>, CliError> {
        let current = ControllerKey::load(home, label)?;
        let rotation = Rotation::load(home, &current.label)?;
        Ok(Arc::new(Self { home: home.clone(), current, rotation }))
    }

    /// The key that is in force.
    pub(crate) fn current(&self) -> &ControllerKey {
        &self.current
    }

    /// Every key that may log in for the label, those that other processes have written meanwhile included.
    fn all(&self) -> impl Iterator<Item = ControllerKey> {
        let label = &self.current.label;
        let next = |rotation: Option<Rotation>| rotation.map(|rotation| rotation.next);
        let known = [Some(self.current.clone()), next(self.rotation.clone())];
        // The new key's file is read first: once it is gone, the other one has its key. It is tried last: where the
        // one in force is denied, the host has the new one already.
        let waiting = next(Rotation::load(&self.home, label).ok().flatten());
        let in_force = ControllerKey::load_file(&key::file(&self.home, label)).ok();
        known.into_iter().chain([in_force, waiting]).flatten()
    }
}

impl KeySource for KeyChain {
    fn key(&self, peer: &Peer) -> Secret {
        let host = (peer.name.clone(), peer.enrolment);
        match &self.rotation {
            Some(rotation) if rotation.done.contains(&host) => rotation.next.secret.clone(),
            _ => self.current.secret.clone(),
        }
    }

    fn another(&self, _: &Peer, denied: &[KeyId]) -> Option<Secret> {
        self.all().find(|key| !denied.contains(&key.id)).map(|key| key.secret)
    }
}
