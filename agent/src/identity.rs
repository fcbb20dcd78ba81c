//! The host's own certificate and key, as TLS needs them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lariat_base::certificate::CertificateInfo;
use lariat_base::name::HostName;
use lariat_base::private::{self, PrivateError};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Config;

/// A certificate with the key that belongs to it.
#[derive(Clone)]
pub struct Identity {
    /// What rustls signs with.
    pub certified: Arc<CertifiedKey>,
    /// What the certificate says.
    pub info: CertificateInfo,
    /// The certificate's file, for messages.
    pub path: PathBuf,
}

/// Why the certificate and key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// One can't be read, or others can read it.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// The certificate's file has none in it.
    #[error("{}: no certificate in PEM form", .0.display())]
    NoCertificate(PathBuf),
    /// The key's file has none in it that can sign.
    #[error("{}: no private key in PEM form that TLS can use", .0.display())]
    NoKey(PathBuf),
    /// They are not of one pair.
    #[error("{}: not the key of the certificate {}", key.display(), certificate.display())]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
}

/// Something about a certificate that keeps controllers from accepting it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It names another host.
    #[error("the certificate is for {named}, not for {host}")]
    Name {
        /// What it names.
        named: String,
        /// What the configuration says.
        host: HostName,
    },
    /// Its time has not come.
    #[error("the certificate is not valid yet; is this host's clock right?")]
    NotYet,
    /// Its time is over.
    #[error("the certificate expired {} day(s) ago; enrol the host anew", ago / 86400)]
    Expired {
        /// How many seconds ago.
        ago: i64,
    },
}

impl Identity {
    /// Loads what the configuration names. The key must belong to the certificate.
    pub fn load(config: &Config) -> Result<Self, IdentityError> {
        let chain = certificates(&config.certificate)?;
        let no_certificate = || IdentityError::NoCertificate(config.certificate.clone());
        let leaf = chain.first().ok_or_else(no_certificate)?;
        let info = CertificateInfo::parse(leaf).map_err(|_| no_certificate())?;
        let no_key = || IdentityError::NoKey(config.key.clone());
        let text = private::read(&config.key)?;
        let der = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| no_key())?;
        let provider = lariat_wire::tls::provider();
        let key = provider.key_provider.load_private_key(der).map_err(|_| no_key())?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|_| IdentityError::Mismatch {
            key: config.key.clone(),
            certificate: config.certificate.clone(),
        })?;
        Ok(Self { certified: Arc::new(certified), info, path: config.certificate.clone() })
    }

    /// Everything that keeps controllers from accepting it at this time (seconds since 1970).
    pub fn unfit(&self, host: &HostName, now: i64) -> Vec<Unfit> {
        let mut unfit = Vec::new();
        if !self.info.is_for(host) {
            let named = lariat_base::escape::escape(self.info.names.join(", ").as_bytes());
            unfit.push(Unfit::Name { named, host: host.clone() });
        }
        if now < self.info.not_before {
            unfit.push(Unfit::NotYet);
        }
        if now > self.info.not_after {
            unfit.push(Unfit::Expired { ago: now.saturating_sub(self.info.not_after) });
        }
        unfit
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let text = private::read(path)?;
    CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| IdentityError::NoCertificate(path.to_owned()))
}
