//! What a certificate says: its names, its validity and its key.
//!
//! Nothing is verified here; chains are rustls's task.

use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::name::HostName;

/// From so many days before its end on, people are warned.
pub const ENDS_SOON: i64 = 30;

/// Seconds.
const DAY: i64 = 24 * 3600;

/// The bytes are not an X.509 certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid X.509 certificate")]
pub struct BadCertificate;

/// The parts of a certificate that lariat uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// The DNS names of the subjectAltName, unchanged.
    pub names: Vec<String>,
    /// SHA-256 of the key's SubjectPublicKeyInfo, as enrollment records it.
    pub spki: [u8; 32],
    /// Start of the validity, in seconds since 1970.
    pub not_before: i64,
    /// End of the validity, in seconds since 1970.
    pub not_after: i64,
    /// Whether the certificate may sign others.
    pub is_ca: bool,
}

impl CertificateInfo {
    /// Parses a DER certificate, which must fill `der` exactly.
    pub fn parse(der: &[u8]) -> Result<Self, BadCertificate> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| BadCertificate)?;
        if !rest.is_empty() {
            return Err(BadCertificate);
        }
        let alternatives = certificate
            .subject_alternative_name()
            .map_err(|_| BadCertificate)?
            .map(|ext| ext.value);
        let names = alternatives.iter().flat_map(|names| &names.general_names);
        let validity = certificate.validity();
        Ok(Self {
            names: names
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some((*name).to_owned()),
                    _ => None,
                })
                .collect(),
            spki: Sha256::digest(certificate.public_key().raw).into(),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            is_ca: certificate.is_ca(),
        })
    }

    /// Whether the certificate was issued for exactly this host: no wildcards, no further names.
    ///
    /// A host's name need not be a DNS name (`42`, `rack.1`), so webpki's check does not suffice.
    pub fn is_for(&self, host: &HostName) -> bool {
        self.names == [host.as_str()]
    }

    /// The days that are left at this time, in seconds since 1970, if the certificate ends within [`ENDS_SOON`].
    pub fn days_left(&self, now: i64) -> Option<i64> {
        let left = self.not_after.saturating_sub(now) / DAY;
        (left < ENDS_SOON).then_some(left)
    }

    /// Whether the certificate is valid at this time, in seconds since 1970.
    pub fn is_valid_at(&self, now: i64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }
}

/// SHA-256 of a DER certificate's SubjectPublicKeyInfo.
pub fn spki_hash(der: &[u8]) -> Result<[u8; 32], BadCertificate> {
    CertificateInfo::parse(der).map(|info| info.spki)
}
