//! What the examples share: the client of the fleet in `$LARIAT_HOME`, and what enrollment recorded of its hosts.
//!
//! The client library itself reads no files. A program with an inventory of its own builds its
//! [`Peer`]s and its [`Client`] the same way.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;

use lariat_base::name::{EnrolmentId, HostName};
use lariat_base::secret::Secret;
use lariat_base::toml_file;
use lariat_client::{Address, Client, Peer, Trust};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;

/// A fleet's client, and its hosts.
pub(crate) struct Fleet {
    /// Reaches the hosts.
    pub(crate) client: Client,
    /// The hosts that are enrolled.
    pub(crate) peers: Vec<Peer>,
}

#[derive(Deserialize)]
struct KeyFile {
    #[serde(deserialize_with = "toml_file::secret")]
    secret: Secret,
}

#[derive(Deserialize)]
struct Inventory {
    #[serde(default)]
    hosts: BTreeMap<HostName, Host>,
}

#[derive(Deserialize)]
struct Host {
    #[serde(deserialize_with = "toml_file::from_text")]
    address: Address,
    enrolment: Option<String>,
    spki: Option<String>,
}

impl Fleet {
    /// Reads the fleet in `$LARIAT_HOME`: `ca.pem`, the first key of `keys/`, and `hosts.toml`.
    pub(crate) fn load() -> Result<Self, Box<dyn Error>> {
        let home = PathBuf::from(std::env::var_os("LARIAT_HOME").ok_or("set LARIAT_HOME")?);
        let ca = CertificateDer::from_pem_file(home.join("ca.pem"))?;
        let key = home.join("keys").read_dir()?.next().ok_or("no key")??.path();
        let KeyFile { secret } = toml_file::load(&key)?;
        let Inventory { hosts } = toml_file::load_public(&home.join("hosts.toml"))?;
        let peers = hosts.into_iter().filter_map(|(name, host)| {
            let enrolment: EnrolmentId = host.enrolment?.parse().ok()?;
            let mut spki = [0; 32];
            hex::decode_to_slice(host.spki?, &mut spki).ok()?;
            Some(Peer { name, address: Some(host.address), enrolment, spki, next_spki: None })
        });
        let peers = peers.collect();
        Ok(Self { client: Client::new(Trust::new(ca)?, secret), peers })
    }

    /// The host of this name.
    #[allow(dead_code, reason = "not every example names a host")]
    pub(crate) fn peer(&self, name: &str) -> Result<Peer, Box<dyn Error>> {
        let peer = self.peers.iter().find(|peer| peer.name.as_str() == name);
        Ok(peer.ok_or_else(|| format!("no host {name}"))?.clone())
    }
}
