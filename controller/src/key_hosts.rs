//! `keys/LABEL.hosts`: the hosts that have let a key of this label in from here, each with the id of the key that it took
//! last. What it does not name may have the key all the same: another operator may have added it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use lariat_base::name::{EnrolmentId, HostName, KeyId, KeyLabel};
use lariat_base::private;

use crate::error::CliError;
use crate::home::{Home, HomeLock};
use crate::inventory::Inventory;

/// A host in one enrollment.
pub(crate) type Enrolment = (HostName, EnrolmentId);

/// Hosts, each in one enrollment.
pub(crate) type Enrolments = BTreeSet<Enrolment>;

/// Hosts that have taken a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyHosts(BTreeMap<Enrolment, KeyId>);

impl KeyHosts {
    /// Loads the file. What can't be read of it was not seen.
    pub(crate) fn load(home: &Home, label: &KeyLabel) -> Self {
        let text = private::read(&file(home, label)).unwrap_or_default();
        Self(text.lines().filter_map(parse).collect())
    }

    /// Replaces the file.
    pub(crate) fn save(&self, home: &Home, _: &HomeLock, label: &KeyLabel) -> Result<(), CliError> {
        let text: String = self.0.iter().map(|(host, id)| line(host, *id)).collect();
        Ok(private::replace(&file(home, label), text.as_bytes())?)
    }

    /// A host has taken the key of this id.
    pub(crate) fn set(&mut self, host: Enrolment, id: KeyId) {
        self.0.insert(host, id);
    }

    /// Leaves only the hosts that `stays` accepts.
    pub(crate) fn retain(&mut self, stays: impl Fn(&Enrolment) -> bool) {
        self.0.retain(|host, _| stays(host));
    }

    /// The id of the key that this host took last.
    pub(crate) fn taken(&self, host: &Enrolment) -> Option<KeyId> {
        self.0.get(host).copied()
    }

    /// Whether this host has ever taken the key.
    pub(crate) fn has(&self, host: &Enrolment) -> bool {
        self.0.contains_key(host)
    }

    /// The hosts that have taken the key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Enrolment, KeyId)> {
        self.0.iter().map(|(host, id)| (host, *id))
    }
}

/// Adds to the file that a host has taken the key of this id.
pub(crate) fn add(
    home: &Home,
    label: &KeyLabel,
    host: &Enrolment,
    id: KeyId,
) -> Result<(), CliError> {
    let mut options = OpenOptions::new();
    let mut file = options.append(true).create(true).mode(0o600).open(file(home, label))?;
    // In one write, for others add to it at the same time.
    Ok(file.write_all(line(host, id).as_bytes())?)
}

/// The hosts of the fleet.
pub(crate) fn enrolled(inventory: &Inventory) -> Enrolments {
    let enrolled = inventory.iter();
    enrolled.filter_map(|(name, host)| Some((name.clone(), host.enrolled?.enrolment))).collect()
}

fn file(home: &Home, label: &KeyLabel) -> PathBuf {
    home.keys_directory().join(format!("{label}.hosts"))
}

fn line((host, enrolment): &Enrolment, id: KeyId) -> String {
    format!("{host} {enrolment} {id}\n")
}

fn parse(line: &str) -> Option<(Enrolment, KeyId)> {
    let mut words = line.split(' ');
    let host = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let id = words.next()?.parse().ok()?;
    words.next().is_none().then_some((host, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_line_of_a_host_counts_and_what_is_no_line_does_not() {
        let (_directory, home) = Home::temporary();
        private::create_directory(&home.keys_directory()).unwrap();
        let label = "bob".parse().unwrap();
        let host = |name: &str| (name.parse().unwrap(), EnrolmentId([1; 16]));
        let [one, two] = [1, 2].map(|byte| KeyId([byte; 16]));
        assert_eq!(KeyHosts::load(&home, &label), KeyHosts::default());
        for (name, id) in [("web1", one), ("web2", one), ("web1", two)] {
            add(&home, &label, &host(name), id).unwrap();
        }
        let path = file(&home, &label);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(
            &path,
            format!("{text}\nweb3\nweb4 x y\n{}\u{ff}", line(&host("a"), one).trim_end()),
        )
        .unwrap();
        let mut known = KeyHosts::load(&home, &label);
        assert_eq!(known.taken(&host("web1")), Some(two));
        assert_eq!(known.iter().count(), 2);
        known.retain(|(name, _)| name.as_str() == "web2");
        known.save(&home, &home.lock().unwrap(), &label).unwrap();
        let again = KeyHosts::load(&home, &label);
        assert!(again.has(&host("web2")) && !again.has(&host("web1")));
    }
}
