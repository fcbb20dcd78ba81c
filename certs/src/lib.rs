//! lariat's fleet CA: creates it, issues the hosts' certificates, inspects them.
//!
//! One CA makes one fleet. It signs leaf certificates only (path length 0), each for one host's name.
//! Controllers accept no others.

pub mod ca;
pub mod issue;
mod key;
pub mod request;

/// What a certificate says; shared with the agent, which checks its own.
pub mod inspect {
    pub use lariat_base::certificate::{BadCertificate, CertificateInfo, spki_hash};
}

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lariat_base::certificate::BadCertificate;
use lariat_base::secret::NoRandomness;

/// Why a certificate could not be created or loaded.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// The CA's certificate does not parse.
    #[error("the CA's certificate does not parse")]
    BadCertificate,
    /// The CA's private key does not parse.
    #[error("the CA's private key does not parse")]
    BadKey,
    /// The key does not belong to the certificate.
    #[error("the CA's private key does not belong to its certificate")]
    KeyMismatch,
    /// The certificate is not that of a CA.
    #[error("the CA's certificate is not that of a CA")]
    NotACa,
    /// The CA's certificate has expired.
    #[error("the CA's certificate has expired")]
    Expired,
    /// A signing request does not parse, or its signature does not hold.
    #[error("not a signing request, or not signed by its key")]
    BadRequest,
    /// This machine's clock shows 1970 or earlier, or a time a thousand years ahead.
    #[error("this machine's clock can't be right: {0}")]
    Clock(&'static str),
    /// The system's random generator failed.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// Encoding or signing failed.
    #[error("making a certificate failed: {0}")]
    Generate(#[from] rcgen::Error),
}

impl From<BadCertificate> for CertsError {
    fn from(_: BadCertificate) -> Self {
        Self::BadCertificate
    }
}

/// How far a certificate's start lies in the past, so that a host whose clock is slow accepts it.
const BACKDATE: Duration = Duration::from_secs(3600);

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Whole seconds since 1970.
fn now() -> Result<Duration, CertsError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_err(|_| CertsError::Clock("it shows a time before 1970"))
}

/// The parameters that every certificate shares: a random serial, and a validity that is backdated.
fn base_params(name: &str, valid: Duration) -> Result<rcgen::CertificateParams, CertsError> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = Duration::from_secs(now()?.as_secs());
    let start = now.checked_sub(BACKDATE).ok_or(CertsError::Clock("it shows 1970"))?;
    // With a clock that is absurdly ahead the addition of dates would panic.
    if now > DAY * 365 * 1000 {
        return Err(CertsError::Clock("it is a thousand years ahead"));
    }
    params.not_before = epoch + start;
    params.not_after = epoch + now + valid;
    let mut serial: [u8; 16] = lariat_base::secret::random()?;
    // Positive and without a leading zero byte, whatever the rest is.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(rcgen::SerialNumber::from_slice(&serial));
    Ok(params)
}
