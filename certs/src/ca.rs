//! The fleet's CA: its certificate and key.

use std::time::Duration;

use lariat_base::certificate::CertificateInfo;
use lariat_base::secret::random;
use rcgen::{BasicConstraints, IsCa, Issuer, KeyUsagePurpose};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroizing;

use crate::key::PrivateKey;
use crate::{CertsError, DAY, base_params, now};

/// How long a CA is valid.
pub const CA_VALIDITY: Duration = Duration::from_secs(DAY.as_secs() * 3652);

/// A CA that can issue certificates.
pub struct Ca {
    pub(crate) issuer: Issuer<'static, PrivateKey>,
    pub(crate) not_after: i64,
    certificate: CertificateDer<'static>,
    certificate_pem: String,
}

impl Ca {
    /// Creates a CA that is valid for ten years, with a new key.
    pub fn create() -> Result<Self, CertsError> {
        let tag: [u8; 4] = random()?;
        // Every fleet's CA has a name of its own, so that two are never confused.
        let name = format!("lariat fleet {:08x}", u32::from_be_bytes(tag));
        let mut params = base_params(&name, CA_VALIDITY)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = PrivateKey::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            certificate_pem: certificate.pem().replace("\r\n", "\n"),
            not_after: params.not_after.unix_timestamp(),
            certificate: certificate.into(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Loads a CA from its two PEM texts. The certificate must be that of a CA and not expired, and the key
    /// must belong to it.
    pub fn load(certificate_pem: &str, key_pem: &str) -> Result<Self, CertsError> {
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|_| CertsError::BadCertificate)?;
        let info = CertificateInfo::parse(&certificate)?;
        let key = PrivateKey::from_pem(key_pem)?;
        if info.spki != key.spki() {
            return Err(CertsError::KeyMismatch);
        }
        if !info.is_ca {
            return Err(CertsError::NotACa);
        }
        if info.not_after < i64::try_from(now()?.as_secs()).unwrap_or(i64::MAX) {
            return Err(CertsError::Expired);
        }
        let issuer =
            Issuer::from_ca_cert_der(&certificate, key).map_err(|_| CertsError::BadCertificate)?;
        Ok(Self {
            issuer,
            not_after: info.not_after,
            certificate,
            certificate_pem: certificate_pem.to_owned(),
        })
    }

    /// The certificate, which controllers trust.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The certificate as PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key as PKCS#8 PEM. Only for a private file.
    pub fn key_pem(&self) -> Zeroizing<String> {
        self.issuer.key().to_pem()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_loads_again_and_only_with_its_own_key() {
        let (ca, other) = (Ca::create().unwrap(), Ca::create().unwrap());
        let again = Ca::load(ca.certificate_pem(), &ca.key_pem()).unwrap();
        assert_eq!(again.certificate(), ca.certificate());
        assert_eq!(again.not_after, ca.not_after);
        let load = |certificate: &str, key: &str| Ca::load(certificate, key).err().unwrap();
        assert!(matches!(load(ca.certificate_pem(), &other.key_pem()), CertsError::KeyMismatch));
        assert!(matches!(load("", &ca.key_pem()), CertsError::BadCertificate));
        assert!(matches!(load(ca.certificate_pem(), ""), CertsError::BadKey));
    }

    #[test]
    fn a_host_s_certificate_is_no_ca() {
        let ca = Ca::create().unwrap();
        let leaf = ca.issue(&"web1".parse().unwrap()).unwrap();
        let load = Ca::load(&leaf.certificate_pem, &leaf.key_pem).err().unwrap();
        assert!(matches!(load, CertsError::NotACa));
    }
}
