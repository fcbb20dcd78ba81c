//! `known-keys.toml`: which keys hosts have, as far as this machine has seen it. A host that is enrolled anew, or is new,
//! has none of them, and its operator is to know.

use std::collections::BTreeMap;

use lariat_base::name::{HostName, KeyLabel};
use lariat_base::private;
use lariat_base::toml_file;
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::home::{Home, HomeLock};
use crate::output;

/// The file's name.
const FILE: &str = "known-keys.toml";

/// By host and label what a key may do, as the options that say so, or else in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownKeys(BTreeMap<HostName, BTreeMap<String, String>>);

impl KnownKeys {
    /// Loads the file; without one no key was seen.
    pub(crate) fn load(home: &Home) -> Result<Self, CliError> {
        let path = home.path().join(FILE);
        if path.exists() { Ok(toml_file::load(&path)?) } else { Ok(Self::default()) }
    }

    /// Replaces the file.
    pub(crate) fn save(&self, home: &Home, _: &HomeLock) -> Result<(), CliError> {
        let text = format!("# Keys that were seen on hosts.\n\n{}", toml::to_string(self)?);
        Ok(private::replace(&home.path().join(FILE), text.as_bytes())?)
    }

    /// A host has these keys, and no others.
    pub(crate) fn list(&mut self, host: HostName, keys: BTreeMap<String, String>) {
        self.0.insert(host, keys);
    }

    /// A key may do this on a host; `None` if it is gone.
    pub(crate) fn set(&mut self, host: &HostName, label: &str, rules: Option<String>) {
        let keys = self.0.entry(host.clone()).or_default();
        match rules {
            Some(rules) => drop(keys.insert(label.to_owned(), rules)),
            None => drop(keys.remove(label)),
        }
    }

    /// The labels of all keys.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &str> {
        self.0.values().flat_map(BTreeMap::keys).map(String::as_str)
    }

    /// What this key may do on a host, as far as it was seen.
    pub(crate) fn rules(&self, host: &HostName, label: &str) -> Option<&str> {
        self.0.get(host)?.get(label).map(String::as_str)
    }

    /// The keys that a host had, except this one; of a host that was not seen, those that any other host has.
    pub(crate) fn missing(&self, host: &HostName, own: &str) -> BTreeMap<&str, &str> {
        let all: Vec<_> = match self.0.get(host) {
            Some(keys) => vec![keys],
            None => self.0.values().collect(),
        };
        let keys = all.into_iter().flatten().filter(|(label, _)| label.as_str() != own);
        keys.map(|(label, rules)| (label.as_str(), rules.as_str())).collect()
    }
}

impl KnownKeys {
    /// Tells which keys a host that is new, or was enrolled anew, lacks.
    pub(crate) fn tell_missing(&self, host: &HostName, own: &KeyLabel) {
        let missing = self.missing(host, own.as_str());
        if !missing.is_empty() {
            output::note(&format!(
                "{host} lacks keys that were seen on it or on other hosts. Their owners need the new export, and \
                 lariat key request {host}:"
            ));
            missing.iter().for_each(|(label, rules)| output::note(&format!("  {label}: {rules}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_known_lacks_its_own_keys_and_a_new_one_those_of_all() {
        let (_directory, home) = Home::temporary();
        let [web1, web2, web3] = ["web1", "web2", "web3"].map(|name| name.parse().unwrap());
        let mut known = KnownKeys::load(&home).unwrap();
        let keys = [("alice", "everything"), ("bob@laptop", "run")];
        known.list(web1, keys.map(|(label, rules)| (label.to_owned(), rules.to_owned())).into());
        known.set(&web2, "carol", Some("pull".to_owned()));
        known.set(&web2, "dave", Some("push".to_owned()));
        known.set(&web2, "dave", None);
        known.save(&home, &home.lock().unwrap()).unwrap();
        let known = KnownKeys::load(&home).unwrap();
        assert_eq!(known.missing(&web2, "alice"), [("carol", "pull")].into());
        let all = [("bob@laptop", "run"), ("carol", "pull")];
        assert_eq!(known.missing(&web3, "alice"), all.into());
    }
}
