//! Keys of hosts that dial gateways: each gateway's keyring has an entry for each of its hosts. A record of them is kept
//! here, so that a gateway that is enrolled anew has them again.

use std::fmt::Write;
use std::path::PathBuf;
use std::str::FromStr;

use lariat_base::name::{HostName, KeyId, KeyLabel};
use lariat_base::private;
use lariat_base::secret::Secret;
use lariat_base::toml_file::{self, from_text, secret};
use lariat_client::{Address, HostHandle, parking};
use lariat_wire::auth::proof::{HostKeys, Verifier, key_id};
use lariat_wire::protocol::key::{KeyAdd, KeyRevoke, Rules};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::error::CliError;
use crate::home::{Home, HomeLock};
use crate::host_keys;
use crate::inventory::Enrolled;

/// The directory of the records, one file a gateway.
const DIRECTORY: &str = "parking";

/// A gateway to be dialled: `NAME` or `NAME=ADDR[:PORT]`, where hosts reach it by another address than operators do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gateway {
    pub(crate) name: HostName,
    pub(crate) address: Option<Address>,
}

impl FromStr for Gateway {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, address) = match text.split_once('=') {
            Some((name, address)) => (name, Some(address)),
            None => (text, None),
        };
        let address = address.map(str::parse::<Address>).transpose();
        let address = address.map_err(|bad| bad.to_string())?;
        let name = name.parse().map_err(|bad: <HostName as FromStr>::Err| bad.to_string())?;
        Ok(Self { name, address })
    }
}

/// The entry of a host in a gateway's keyring.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    #[serde(deserialize_with = "from_text")]
    id: KeyId,
    #[serde(deserialize_with = "from_text")]
    label: KeyLabel,
    #[serde(deserialize_with = "secret")]
    stored: Secret,
    #[serde(deserialize_with = "secret")]
    agent: Secret,
    #[serde(deserialize_with = "from_text")]
    park: HostName,
}

/// The entries of a gateway.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entries {
    #[serde(default)]
    key: Vec<Entry>,
}

impl Entry {
    /// The entry of this host's key at a gateway.
    fn new(host: &HostName, key: &Secret, gateway: &HostName) -> Result<Self, CliError> {
        let verifier = HostKeys::derive(key, gateway, &parking::ENROLMENT).verifier();
        let Verifier { stored, agent } = verifier;
        let label = label(host)?;
        Ok(Self { id: key_id(key), label, stored, agent, park: host.clone() })
    }
}

/// The label of a host's key at its gateways. An operator's has another form.
fn label(host: &HostName) -> Result<KeyLabel, CliError> {
    Ok(format!("@{host}").parse()?)
}

impl Entries {
    /// Loads the record of a gateway; without one it has none.
    pub(crate) fn load(home: &Home, gateway: &HostName) -> Result<Self, CliError> {
        let path = file(home, gateway);
        if path.exists() { Ok(toml_file::load(&path)?) } else { Ok(Self::default()) }
    }

    /// Adds a host's entry, in place of an older one.
    pub(crate) fn set(&mut self, entry: Entry) {
        self.remove(&entry.park.clone());
        self.key.push(entry);
    }

    /// Removes a host's entry. Returns whether there was one.
    pub(crate) fn remove(&mut self, host: &HostName) -> bool {
        let before = self.key.len();
        self.key.retain(|entry| entry.park != *host);
        self.key.len() < before
    }

    /// Removes the entries with these ids. Returns whether there was one.
    fn remove_ids(&mut self, ids: &[KeyId]) -> bool {
        let before = self.key.len();
        self.key.retain(|entry| !ids.contains(&entry.id));
        self.key.len() < before
    }

    /// Replaces the record.
    pub(crate) fn save(
        &self,
        home: &Home,
        _: &HomeLock,
        gateway: &HostName,
    ) -> Result<(), CliError> {
        let directory = home.path().join(DIRECTORY);
        if !directory.exists() {
            private::create_directory(&directory)?;
        }
        let text = Zeroizing::new(format!(
            "# Hosts that dial {gateway}, as its keyring has them.\n{}",
            self.to_toml().as_str()
        ));
        Ok(private::replace(&file(home, gateway), text.as_bytes())?)
    }

    /// The entries as a keyring has them.
    pub(crate) fn to_toml(&self) -> Zeroizing<String> {
        // Allocated once, because growing a String would leave copies in memory.
        let mut text = Zeroizing::new(String::with_capacity(512 * self.key.len()));
        for Entry { id, label, stored, agent, park } in &self.key {
            let (stored, agent) = (stored.to_hex(), agent.to_hex());
            write!(
                text,
                "\n[[key]]\nid = \"{id}\"\nlabel = \"{label}\"\nstored = \"{}\"\nagent = \"{}\"\npark = \"{park}\"\n",
                stored.as_str(),
                agent.as_str()
            )
            .expect("a String takes what is written to it");
        }
        text
    }
}

fn file(home: &Home, gateway: &HostName) -> PathBuf {
    home.path().join(DIRECTORY).join(format!("{gateway}.toml"))
}

/// The gateways that a host is recorded to dial.
pub(crate) fn gateways_of(home: &Home, host: &HostName) -> Result<Vec<HostName>, CliError> {
    let Ok(directory) = home.path().join(DIRECTORY).read_dir() else { return Ok(Vec::new()) };
    let mut gateways = Vec::new();
    for file in directory.flatten() {
        let name = file.file_name();
        let name = name.to_str().and_then(|name| name.strip_suffix(".toml")?.parse().ok());
        if let Some(gateway) = name
            && Entries::load(home, &gateway)?.key.iter().any(|entry| entry.park == *host)
        {
            gateways.push(gateway);
        }
    }
    gateways.sort();
    Ok(gateways)
}

/// Removes keys that were revoked at a gateway from its record: it takes nothing any more that they would park.
pub(crate) fn revoked(
    home: &Home,
    lock: &HomeLock,
    gateway: &HostName,
    ids: &[KeyId],
) -> Result<(), CliError> {
    let mut entries = Entries::load(home, gateway)?;
    if entries.remove_ids(ids) { entries.save(home, lock, gateway) } else { Ok(()) }
}

/// Has a gateway take connections that a host parks with this key, and no longer those with an older one.
pub(crate) async fn add(
    gateway: &HostHandle,
    enrolled: Enrolled,
    host: &HostName,
    key: &Secret,
) -> Result<Entry, CliError> {
    let entry = Entry::new(host, key, gateway.name())?;
    let mut keys = host_keys::list(gateway).await?;
    let is_older = |rules: &Rules| rules.park.as_ref() == Some(host);
    let older: Vec<_> = keys.keys.iter().filter(|key| is_older(&key.rules)).collect();
    let older: Vec<KeyId> = older.into_iter().map(|key| key.id).collect();
    for id in &older {
        let revoke = KeyRevoke { key: id.to_string(), keep_jobs: false, force: false };
        let (session, _) = host_keys::change(gateway, None, &revoke).await?;
        session.leave().await;
    }
    if !older.is_empty() {
        keys.session.leave().await;
        keys = host_keys::list(gateway).await?;
    }
    let verifier = Verifier { stored: entry.stored.clone(), agent: entry.agent.clone() };
    let request = KeyAdd {
        revision: keys.revision,
        enrolment: enrolled.enrolment,
        id: entry.id,
        label: entry.label.clone(),
        verifier: verifier.into(),
        rules: Rules { park: Some(host.clone()), ..Rules::default() },
        again: false,
        dry_run: false,
    };
    let (session, _) = host_keys::change(gateway, Some(keys.session), &request).await?;
    session.leave().await;
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_what_a_keyring_has_and_a_host_has_one_entry() {
        let (_directory, home) = Home::temporary();
        let [gw1, web3, web4]: [HostName; 3] =
            ["gw1", "web3", "web4"].map(|name| name.parse().unwrap());
        let mut entries = Entries::load(&home, &gw1).unwrap();
        let [old, new, other] = [(); 3].map(|()| Secret::generate().unwrap());
        for (host, key) in [(&web3, &old), (&web4, &other), (&web3, &new)] {
            entries.set(Entry::new(host, key, &gw1).unwrap());
        }
        entries.save(&home, &home.lock().unwrap(), &gw1).unwrap();
        let again = Entries::load(&home, &gw1).unwrap();
        assert_eq!(again.to_toml(), entries.to_toml());
        let ids: Vec<_> = again.key.iter().map(|entry| entry.id).collect();
        assert_eq!(ids, [key_id(&other), key_id(&new)]);
        assert_eq!(gateways_of(&home, &web3).unwrap(), std::slice::from_ref(&gw1));
        assert!(gateways_of(&home, &"web5".parse().unwrap()).unwrap().is_empty());
        revoked(&home, &home.lock().unwrap(), &gw1, &[key_id(&old)]).unwrap();
        assert_eq!(gateways_of(&home, &web3).unwrap().len(), 1);
        revoked(&home, &home.lock().unwrap(), &gw1, &[key_id(&new)]).unwrap();
        assert!(gateways_of(&home, &web3).unwrap().is_empty());
        let text = entries.to_toml();
        assert!(
            text.capacity() == 1024 && text.contains("label = \"@web3\"\n"),
            "{}",
            text.as_str()
        );
    }

    #[test]
    fn a_gateway_is_a_name_and_perhaps_an_address() {
        let parse = |text: &str| text.parse::<Gateway>();
        let name = "gw1".parse::<HostName>().unwrap();
        assert_eq!(parse("gw1"), Ok(Gateway { name: name.clone(), address: None }));
        let address = "gw.example:7500".parse().ok();
        assert_eq!(parse("gw1=gw.example:7500"), Ok(Gateway { name, address }));
        assert!(parse("-x").is_err() && parse("gw1=").is_err() && parse("gw1=a b").is_err());
    }
}
