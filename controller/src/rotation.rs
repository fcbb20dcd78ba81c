//! A rotation that is under way: `keys/LABEL.next` has the new key, and which hosts have it already. The old one stays
//! in `keys/LABEL.key` until all hosts that are known to have it have the new one, and then in `keys/LABEL.old` as long
//! as any other may have it: a host that was not asked, or that may deny it only to this place.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use lariat_base::name::{EnrolmentId, HostName, KeyId, KeyLabel};
use lariat_base::os_error::io_error;
use lariat_base::private;
use lariat_base::secret::Secret;
use lariat_base::toml_file::{self, TomlFileError, from_text, secret};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::error::CliError;
use crate::home::{Home, HomeLock};
use crate::inventory::Inventory;
use crate::key::{self, ControllerKey};
use crate::key_hosts::{Enrolment, Enrolments, KeyHosts, enrolled};

/// A rotation.
#[derive(Clone)]
pub(crate) struct Rotation {
    /// The new key.
    pub(crate) next: ControllerKey,
    /// The hosts that have confirmed it.
    pub(crate) done: Enrolments,
    /// The hosts that somebody named, and that have not answered.
    asked: Enrolments,
    /// The hosts that deny both keys.
    without: Enrolments,
}

/// What hosts have answered to a new key.
#[derive(Default)]
pub(crate) struct Answers {
    /// They have it.
    pub(crate) done: Enrolments,
    /// They deny it, and the old one.
    pub(crate) without: Enrolments,
    /// It was revoked there, so that they never take it.
    pub(crate) revoked: Enrolments,
}

/// How a rotation stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// These hosts have not confirmed the new key.
    Left(Vec<HostName>),
    /// The new key has taken the old one's place.
    Over {
        /// No host can have the old key.
        is_sure: bool,
    },
    /// No host that was asked has the key, so nothing was begun.
    Nowhere,
    /// The new key was given up. The next rotation makes another.
    GivenUp,
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
    done: Vec<Written>,
    #[serde(default)]
    asked: Vec<Written>,
    #[serde(default)]
    without: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    host: HostName,
    #[serde(deserialize_with = "from_text")]
    enrolment: EnrolmentId,
}

impl Rotation {
    /// The rotation of this key, if one is under way.
    pub(crate) fn load(home: &Home, label: &KeyLabel) -> Result<Option<Self>, CliError> {
        let path = file(home, label);
        // Another process may end the rotation at any moment.
        let NextFile { id, label, secret, done, asked, without } = match toml_file::load(&path) {
            Err(TomlFileError::Private(error)) if error.is_not_there() => return Ok(None),
            loaded => loaded?,
        };
        let next = ControllerKey { id, label, secret }.checked(&path)?;
        let [done, asked, without] = [done, asked, without].map(|hosts| {
            hosts.into_iter().map(|Written { host, enrolment }| (host, enrolment)).collect()
        });
        Ok(Some(Self { next, done, asked, without }))
    }

    /// The rotation that is under way, or a new one, in which these hosts are to be asked. It is written down before
    /// any is, so that an interruption loses nothing.
    pub(crate) fn begin(
        home: &Home,
        _: &HomeLock,
        label: &KeyLabel,
        hosts: &Enrolments,
    ) -> Result<Self, CliError> {
        let mut rotation = if let Some(rotation) = Self::load(home, label)? {
            rotation
        } else {
            let next = ControllerKey::generate(label.clone())?;
            let [done, asked, without] = [(); 3].map(|()| Enrolments::new());
            Self { next, done, asked, without }
        };
        rotation.asked.extend(hosts.iter().cloned());
        rotation.save(home, label)?;
        Ok(rotation)
    }

    /// Takes down what hosts have answered to the new key of this id. Once all hosts that are known to have the old
    /// one have it, it takes the old one's place.
    pub(crate) fn settle(
        home: &Home,
        lock: &HomeLock,
        label: &KeyLabel,
        id: KeyId,
        answers: Answers,
    ) -> Result<Settled, CliError> {
        let Some(mut rotation) = Self::load(home, label)? else {
            return Ok(Settled::Over { is_sure: true });
        };
        let (known, inventory) = (KeyHosts::load(home, label), Inventory::load(home)?);
        // Another process may have given that one up meanwhile.
        let is_current = rotation.next.id == id;
        let is_given_up = is_current && !answers.revoked.is_empty();
        if is_current {
            rotation.take(answers);
        }
        let left = rotation.left(&known, &inventory);
        if is_given_up {
            rotation.give_up(home, lock, label, known, &inventory)?;
            return Ok(Settled::GivenUp);
        }
        // No host was told of the new key that is not named in one of them.
        let enrolled = enrolled(&inventory);
        if rotation.done.is_empty() && rotation.asked.is_disjoint(&enrolled) {
            remove(&file(home, label))?;
            return Ok(Settled::Nowhere);
        }
        if !left.is_empty() {
            rotation.save(home, label)?;
            return Ok(Settled::Left(left));
        }
        let is_sure = rotation.finish(home, lock, label, known, &inventory)?;
        Ok(Settled::Over { is_sure })
    }

    fn take(&mut self, Answers { done, without, revoked }: Answers) {
        let Self { done: all_done, without: all_without, asked, .. } = self;
        all_without.extend(without);
        all_without.retain(|host| !done.contains(host) && !revoked.contains(host));
        all_done.extend(done);
        all_done.retain(|host| !all_without.contains(host) && !revoked.contains(host));
        asked.retain(|host| !all_done.contains(host) && !all_without.contains(host));
    }

    /// The hosts that have not confirmed it, of those that are known to have the old key or were named.
    fn left(&self, known: &KeyHosts, inventory: &Inventory) -> Vec<HostName> {
        let is_left = |host: &Enrolment| {
            (known.has(host) || self.asked.contains(host))
                && !self.done.contains(host)
                && !self.without.contains(host)
        };
        enrolled(inventory).into_iter().filter(is_left).map(|(name, _)| name).collect()
    }

    /// Puts the new key in the old one's place. Returns whether no host can have the old one.
    fn finish(
        self,
        home: &Home,
        lock: &HomeLock,
        label: &KeyLabel,
        mut known: KeyHosts,
        inventory: &Inventory,
    ) -> Result<bool, CliError> {
        let Self { next, done, without, .. } = self;
        let enrolled = enrolled(inventory);
        // What has taken it before may deny it only to this place, or for now.
        let is_sure =
            |host: &&Enrolment| done.contains(host) || without.contains(host) && !known.has(host);
        let unsure: Vec<&Enrolment> = enrolled.iter().filter(|host| !is_sure(host)).collect();
        let (in_force, old) = (key::file(home, label), former_file(home, label));
        if unsure.is_empty() {
            remove(&old)?;
        } else if !old.exists() || unsure.iter().any(|host| known.has(host)) {
            let key = ControllerKey::load_file(&in_force)?;
            private::replace(&old, key.to_toml().as_bytes())?;
        }
        let is_sure = unsure.is_empty();
        // In this order, so that a key that works is there at every moment.
        private::replace(&in_force, next.to_toml().as_bytes())?;
        remove(&file(home, label))?;
        done.iter().for_each(|host| known.set(host.clone(), next.id));
        known.retain(|host| enrolled.contains(host) && !without.contains(host));
        known.save(home, lock, label)?;
        Ok(is_sure)
    }

    /// The new key is not to be given to any more hosts. It is kept as long as one may have it.
    fn give_up(
        self,
        home: &Home,
        lock: &HomeLock,
        label: &KeyLabel,
        known: KeyHosts,
        inventory: &Inventory,
    ) -> Result<(), CliError> {
        if !self.done.is_empty() {
            return self.finish(home, lock, label, known, inventory).map(drop);
        }
        let old = former_file(home, label);
        if !old.exists() {
            private::replace(&old, self.next.to_toml().as_bytes())?;
        }
        remove(&file(home, label))
    }

    fn save(&self, home: &Home, label: &KeyLabel) -> Result<(), CliError> {
        // Whole or not at all, for every command reads it.
        Ok(private::replace(&file(home, label), self.to_toml().as_bytes())?)
    }

    fn to_toml(&self) -> Zeroizing<String> {
        let Self { next, done, asked, without } = self;
        let lists = [("done", done), ("asked", asked), ("without", without)];
        let count: usize = lists.iter().map(|(_, hosts)| hosts.len()).sum();
        let key = next.to_toml();
        let mut text = Zeroizing::new(String::with_capacity(2048 + 160 * count));
        let mut write = |line: std::fmt::Arguments<'_>| {
            text.write_fmt(line).expect("a String takes what is written to it");
        };
        write(format_args!(
            "# Takes the place of the key of this label: lariat key rotate all goes on with it.\n{}",
            key.as_str()
        ));
        for (name, hosts) in lists {
            for (host, enrolment) in hosts {
                write(format_args!(
                    "\n[[{name}]]\nhost = \"{host}\"\nenrolment = \"{enrolment}\"\n"
                ));
            }
        }
        text
    }
}

/// The hosts that are known to have an older key of this label; of a rotation that is under way, those that it was
/// begun for, if they have not all confirmed it.
pub(crate) fn left_behind(
    home: &Home,
    label: &KeyLabel,
    inventory: &Inventory,
) -> Result<Vec<HostName>, CliError> {
    let known = KeyHosts::load(home, label);
    if let Some(rotation) = Rotation::load(home, label)? {
        let left = rotation.left(&known, inventory);
        let is_asked = |name: &&HostName| rotation.asked.iter().any(|(asked, _)| asked == *name);
        let asked: Vec<HostName> = left.iter().filter(is_asked).cloned().collect();
        return Ok(if asked.is_empty() { left } else { asked });
    }
    let Some(former) = former(home, label)? else { return Ok(Vec::new()) };
    let enrolled = enrolled(inventory);
    let has_it = known.iter().filter(|(host, id)| *id == former.id && enrolled.contains(host));
    Ok(has_it.map(|((name, _), _)| name.clone()).collect())
}

/// The key that was replaced and that a host may have, if there is one.
pub(crate) fn former(home: &Home, label: &KeyLabel) -> Result<Option<ControllerKey>, CliError> {
    let path = former_file(home, label);
    // Another process may remove it at any moment.
    match ControllerKey::load_file(&path) {
        Err(error) if error.is_missing() => Ok(None),
        loaded => loaded.map(Some),
    }
}

fn file(home: &Home, label: &KeyLabel) -> PathBuf {
    home.keys_directory().join(format!("{label}.next"))
}

fn former_file(home: &Home, label: &KeyLabel) -> PathBuf {
    home.keys_directory().join(format!("{label}.old"))
}

/// Removes a file if it is there.
fn remove(path: &Path) -> Result<(), CliError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(CliError::new(format!("remove {}: {}", path.display(), io_error(&error))))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
