//! Renews the host's certificate. The private key never leaves the host.
//!
//! A new private key waits in `STATE/renewal.key`. The certificate's file is replaced first and the key's file after
//! it, so that the key of the certificate on disk is always in one of the two.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use lariat_base::certificate::CertificateInfo;
use lariat_base::clock::signed_seconds;
use lariat_base::name::HostName;
use lariat_base::private::{self, PrivateError};
use lariat_certs::CertsError;
use lariat_certs::request::{certificate_pem, generate_key, signing_request};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::renewal::SigningRequest;
use rustls_pki_types::CertificateDer;
use tracing::{info, warn};

use crate::certificates::Certificates;
use crate::config::Config;
use crate::identity::{Identity, IdentityError, unfit};

const NEW_KEY: &str = "renewal.key";

/// Why there is no signing request, or a certificate is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenewalError {
    /// The certificate is not one that this host can use; the text says why.
    #[error("the certificate can't be used: {0}")]
    Unusable(String),
    /// A file can't be read or written.
    #[error(transparent)]
    File(#[from] PrivateError),
    /// A key or a request can't be made.
    #[error(transparent)]
    Certs(#[from] CertsError),
}

/// Makes a request for a certificate of the present key, or of a new one.
pub(crate) fn request(
    config: &Config,
    certificates: &Certificates,
    new_key: bool,
) -> Result<SigningRequest, RenewalError> {
    let key = if new_key {
        let key = generate_key()?;
        private::replace(&new_key_file(config), key.as_bytes())?;
        key
    } else {
        private::read(&config.key)?
    };
    let not_after = certificates.kept().info.not_after;
    Ok(SigningRequest { request: signing_request(&key)?, not_after })
}

/// Tries a certificate, or keeps it if the connection on which it came was made with it. Returns whether it is kept.
pub(crate) fn install(
    config: &Config,
    certificates: &Certificates,
    made_with: Option<&Identity>,
    certificate: Vec<u8>,
) -> Result<bool, RenewalError> {
    let certificate = CertificateDer::from(certificate);
    if *certificates.kept().certificate() == certificate {
        return Ok(true);
    }
    check(&certificate, &config.name).map_err(RenewalError::Unusable)?;
    let identity = usable(config, &certificates.kept(), &certificate)?;
    if made_with.is_none_or(|made_with| *made_with.certificate() != certificate) {
        certificates.try_out(identity);
        return Ok(false);
    }
    private::replace(&config.certificate, certificate_pem(&certificate).as_bytes())?;
    finish(config).map_err(|error| RenewalError::Unusable(error.to_string()))?;
    info!("the host has a new certificate");
    certificates.keep(Arc::new(identity));
    Ok(true)
}

/// Puts a new key in its place if its certificate is there already.
pub(crate) fn finish(config: &Config) -> Result<(), IdentityError> {
    let path = new_key_file(config);
    let key = match private::read(&path) {
        Err(error) if error.is_not_there() => return Ok(()),
        read => read?,
    };
    if Identity::read(&config.certificate, &path).is_err() {
        // It waits for its certificate.
        return Ok(());
    }
    private::replace(&config.key, key.as_bytes())?;
    // Its content is in place: a copy that stays is put there again.
    let _ = fs::remove_file(&path);
    Ok(())
}

fn new_key_file(config: &Config) -> PathBuf {
    config.state.join(NEW_KEY)
}

/// The certificate with its private key, which is the present one or the new one.
fn usable(
    config: &Config,
    kept: &Identity,
    certificate: &CertificateDer<'static>,
) -> Result<Identity, RenewalError> {
    let new_key = private::read(&new_key_file(config)).ok();
    let identity = kept.replaced(certificate.clone(), new_key.as_deref().map(String::as_str));
    let unknown =
        || RenewalError::Unusable("it is for a key that this host does not have".to_owned());
    identity.ok_or_else(unknown)
}

/// Checks that controllers would accept a certificate of the right CA.
fn check(certificate: &[u8], host: &HostName) -> Result<(), String> {
    let info = CertificateInfo::parse(certificate).map_err(|error| error.to_string())?;
    if info.is_ca {
        return Err("it is the certificate of a CA".to_owned());
    }
    unfit(&info, host, signed_seconds(SystemTime::now()))
        .first()
        .map_or(Ok(()), |why| Err(why.to_string()))
}

impl From<RenewalError> for Failure {
    fn from(error: RenewalError) -> Self {
        match error {
            RenewalError::Unusable(_) => Self::request(Cause::BadRequest(error.to_string())),
            RenewalError::File(PrivateError::Io { path, source, .. }) => {
                Self::io(Action::Write, path.as_os_str().as_encoded_bytes(), &source)
            }
            RenewalError::File(_) | RenewalError::Certs(_) => {
                warn!("renewal: {error}");
                Self::request(Cause::Internal)
            }
        }
    }
}
