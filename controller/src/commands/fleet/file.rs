//! The file that goes from one operator to another.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use lariat_base::name::HostName;
use lariat_base::os_error::io_error;
use lariat_base::toml_file;
use lariat_client::Trust;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::error::CliError;
use crate::inventory::{Host, Inventory};
use crate::revocations::Revocation;

/// Largest file, in bytes.
const MAX_LEN: u64 = 16 * 1024 * 1024;

/// A file that was exported.
pub(super) struct Exported {
    /// The CA's certificate, as PEM.
    pub(super) ca_pem: String,
    /// The CA's certificate, in DER.
    pub(super) ca: CertificateDer<'static>,
    pub(super) hosts: Inventory,
    /// The ends of their certificates, in seconds since 1970, as far as they were known.
    pub(super) expires: BTreeMap<HostName, i64>,
    pub(super) revoked: Vec<Revocation>,
}

impl Exported {
    /// Reads such a file.
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let failed =
            |e: std::io::Error| CliError::new(format!("read {}: {}", path.display(), io_error(&e)));
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(MAX_LEN).read_to_string(&mut text).map_err(failed)?;
        let Written { host_count, ca: ca_pem, hosts, expires, revoked } =
            toml_file::parse(path, &text)?;
        let bad = || CliError::new(format!("{}: ca is no certificate of a CA", path.display()));
        let ca = certificate(&ca_pem).ok_or_else(bad)?;
        Trust::new(ca.clone()).map_err(|_| bad())?;
        // Enrollment is the last that a host's table says.
        let there = hosts.values().filter(|host| host.enrolled.is_some()).count();
        if let Some(count) = host_count.filter(|count| *count > there) {
            let message = format!(
                "{}: it has {there} of the {count} hosts that it was written with; nothing was changed",
                path.display()
            );
            return Err(CliError::new(message).next("it was cut on its way: ask for another"));
        }
        // A command that somebody else's file brings would run here.
        if let Some(name) = hosts.iter().find_map(|(name, host)| host.proxy.as_ref().map(|_| name))
        {
            let message = format!("{}: {name} has a `proxy`", path.display());
            return Err(
                CliError::new(message).next("no export has one: ask where the file is from")
            );
        }
        Ok(Self { ca_pem, ca, hosts: Inventory::of(hosts), expires, revoked })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// How many hosts follow; files of older versions do not say it.
    host_count: Option<usize>,
    ca: String,
    #[serde(default)]
    hosts: BTreeMap<HostName, Host>,
    #[serde(default)]
    expires: BTreeMap<HostName, i64>,
    #[serde(default)]
    revoked: Vec<Revocation>,
}

/// SHA-256 of the CA's certificate, in hexadecimal digits.
pub(crate) fn fingerprint(ca: &CertificateDer<'_>) -> String {
    hex::encode(Sha256::digest(ca))
}

/// The certificate of a PEM text.
fn certificate(pem: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok()
}
