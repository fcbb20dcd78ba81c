//! The host's own certificate and private key.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lariat_base::certificate::CertificateInfo;
use lariat_base::clock::signed_seconds;
use lariat_base::name::HostName;
use lariat_base::private::{self, PrivateError};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tracing::warn;

use crate::config::Config;

/// A certificate and its private key.
#[derive(Clone)]
pub struct Identity {
    /// The certificate and key in rustls's form.
    pub certified: Arc<CertifiedKey>,
    /// What the certificate says.
    pub info: CertificateInfo,
    /// The certificate's file, for messages.
    pub path: PathBuf,
}

/// Why the certificate and key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file can't be read, or is not private.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// The certificate's file contains no certificate.
    #[error("{}: no certificate in PEM form", .0.display())]
    NoCertificate(PathBuf),
    /// The key's file contains no key that can sign.
    #[error("{}: no private key in PEM form that TLS can use", .0.display())]
    NoKey(PathBuf),
    /// The key does not belong to the certificate.
    #[error("{}: not the key of the certificate {}", key.display(), certificate.display())]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
}

/// Why controllers will not accept a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It names another host.
    #[error("the certificate is for {named}, not for {host}")]
    Name {
        /// The names in the certificate.
        named: String,
        /// The host's name in the configuration.
        host: HostName,
    },
    /// It is not valid yet.
    #[error("the certificate is not valid yet; is this host's clock right?")]
    NotYet,
    /// It has expired.
    #[error("the certificate expired {} day(s) ago; try, on the controller: lariat enroll {host} --ssh [USER@]ADDR", ago / 86400)]
    Expired {
        /// The host's name in the configuration.
        host: HostName,
        /// Seconds since it expired.
        ago: i64,
    },
}

impl Identity {
    /// Loads the certificate and the key that the configuration names. The key must belong to the
    /// certificate.
    pub fn load(config: &Config) -> Result<Self, IdentityError> {
        Self::read(&config.certificate, &config.key)
    }

    /// Loads a certificate and its key.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let chain = certificates(certificate)?;
        let no_certificate = || IdentityError::NoCertificate(certificate.to_owned());
        let leaf = chain.first().ok_or_else(no_certificate)?;
        let info = CertificateInfo::parse(leaf).map_err(|_| no_certificate())?;
        let no_key = || IdentityError::NoKey(key.to_owned());
        let certified =
            CertifiedKey::new(chain, private_key(&private::read(key)?).ok_or_else(no_key)?);
        let (key, path) = (key.to_owned(), certificate.to_owned());
        certified
            .keys_match()
            .map_err(|_| IdentityError::Mismatch { key, certificate: path.clone() })?;
        Ok(Self { certified: Arc::new(certified), info, path })
    }

    /// Makes TLS connections with this certificate.
    pub fn resolver(&self) -> Arc<SingleCertAndKey> {
        Arc::new(SingleCertAndKey::from(Arc::clone(&self.certified)))
    }

    /// The certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        // A chain without one is not loaded.
        &self.certified.cert[0]
    }

    /// Another certificate in this one's place, for the same key or for `new_key` (PEM); `None` if it is for neither.
    pub fn replaced(
        &self,
        certificate: CertificateDer<'static>,
        new_key: Option<&str>,
    ) -> Option<Self> {
        let info = CertificateInfo::parse(&certificate).ok()?;
        let key = if info.spki == self.info.spki {
            Arc::clone(&self.certified.key)
        } else {
            private_key(new_key?)?
        };
        let certified = CertifiedKey::new(vec![certificate], key);
        certified.keys_match().ok()?;
        Some(Self { certified: Arc::new(certified), info, path: self.path.clone() })
    }

    /// The first moment at which the certificate is valid.
    pub fn valid_from(&self) -> SystemTime {
        let seconds = u64::try_from(self.info.not_before).unwrap_or_default();
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Writes to the log why controllers do not accept the certificate, or will not soon. It does not stop an agent:
    /// the cause may be a clock that is not set yet.
    pub fn warn(&self, host: &HostName) {
        let now = signed_seconds(SystemTime::now());
        for unfit in self.unfit(host, now) {
            warn!("{}: {unfit}", self.path.display());
        }
        if let Some(why) = self.ends_soon(host, now) {
            warn!("{}: {why}", self.path.display());
        }
    }

    /// The warning that the certificate ends soon, if it does at `now` (seconds since 1970).
    pub fn ends_soon(&self, host: &HostName, now: i64) -> Option<String> {
        let days = self.info.days_left(now).filter(|days| *days >= 0)?;
        Some(format!("the certificate ends in {days} day(s): lariat renew {host}"))
    }

    /// Every reason why controllers will not accept the certificate at `now` (seconds since 1970).
    pub fn unfit(&self, host: &HostName, now: i64) -> Vec<Unfit> {
        unfit(&self.info, host, now)
    }
}

/// Every reason why controllers will not accept a certificate for `host` at `now` (seconds since 1970).
pub fn unfit(info: &CertificateInfo, host: &HostName, now: i64) -> Vec<Unfit> {
    let mut unfit = Vec::new();
    if !info.is_for(host) {
        let named = lariat_base::escape::escape(info.names.join(", ").as_bytes());
        unfit.push(Unfit::Name { named, host: host.clone() });
    }
    if now < info.not_before {
        unfit.push(Unfit::NotYet);
    }
    if now > info.not_after {
        let ago = now.saturating_sub(info.not_after);
        unfit.push(Unfit::Expired { host: host.clone(), ago });
    }
    unfit
}

/// A private key in PEM that TLS can use.
fn private_key(pem: &str) -> Option<Arc<dyn SigningKey>> {
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?;
    lariat_wire::tls::provider().key_provider.load_private_key(der).ok()
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let text = private::read_public(path)?;
    CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| IdentityError::NoCertificate(path.to_owned()))
}
