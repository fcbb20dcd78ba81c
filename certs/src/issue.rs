//! Issues a host's certificate, with a new key.

use std::time::Duration;

use lariat_base::name::HostName;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::ca::Ca;
use crate::key::PrivateKey;
use crate::{CertsError, DAY, base_params};

/// How long a host's certificate is valid.
pub const LEAF_VALIDITY: Duration = Duration::from_secs(DAY.as_secs() * 365);

/// A host's certificate and key, as enrollment hands them out.
pub struct Leaf {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// The certificate as PEM.
    pub certificate_pem: String,
    /// The private key as PKCS#8 PEM. Only for a private file.
    pub key_pem: Zeroizing<String>,
    /// SHA-256 of the key's SubjectPublicKeyInfo, which controllers require from then on.
    pub spki: [u8; 32],
}

impl Ca {
    /// Issues a certificate for a host: for TLS servers only, for exactly this name, unable to sign, valid
    /// for a year but not beyond the CA's end.
    pub fn issue(&self, host: &HostName) -> Result<Leaf, CertsError> {
        let params = leaf_params(host, self.not_after)?;
        let key = PrivateKey::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Leaf {
            certificate_pem: certificate.pem().replace("\r\n", "\n"),
            key_pem: key.to_pem(),
            spki: key.spki(),
            certificate: certificate.into(),
        })
    }
}

/// What every host's certificate says. `ca_ends` is the end of the CA, in seconds since 1970.
pub(crate) fn leaf_params(host: &HostName, ca_ends: i64) -> Result<CertificateParams, CertsError> {
    let mut params = base_params(host.as_str(), LEAF_VALIDITY)?;
    if params.not_after.unix_timestamp() > ca_ends {
        let end = Duration::from_secs(ca_ends.unsigned_abs());
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + end;
    }
    params.subject_alt_names = vec![SanType::DnsName(host.as_str().try_into()?)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use lariat_base::certificate::{CertificateInfo, spki_hash};
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::{CertificateError, Error, RootCertStore};
    use rustls_pki_types::{ServerName, UnixTime};

    use super::*;

    fn host(name: &str) -> HostName {
        name.parse().unwrap()
    }

    /// Verifies a chain for a name as a controller that trusts `ca` does, `later` from now.
    fn verify(
        ca: &Ca,
        chain: &[&CertificateDer<'static>],
        name: &str,
        later: Duration,
    ) -> Result<(), Error> {
        let mut roots = RootCertStore::empty();
        roots.add(ca.certificate().clone()).unwrap();
        let provider = lariat_wire::tls::provider();
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let between: Vec<_> = chain[1..].iter().map(|&c| c.clone()).collect();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + later;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let now = UnixTime::since_unix_epoch(now);
        verifier.verify_server_cert(chain[0], &between, &name, &[], now).map(|_| ())
    }

    #[test]
    fn a_leaf_holds_for_its_name_its_year_and_its_fleet_only() {
        let (ca, other) = (Ca::create().unwrap(), Ca::create().unwrap());
        let leaf = ca.issue(&host("web1")).unwrap();
        let chain = [&leaf.certificate];
        assert_eq!(verify(&ca, &chain, "web1", Duration::ZERO), Ok(()));
        assert!(verify(&ca, &chain, "web2", Duration::ZERO).is_err());
        assert!(verify(&other, &chain, "web1", Duration::ZERO).is_err());
        assert_eq!(verify(&ca, &chain, "web1", Duration::from_secs(364 * 86400)), Ok(()));
        assert!(verify(&ca, &chain, "web1", LEAF_VALIDITY + DAY).is_err());
    }

    #[test]
    fn a_leaf_can_t_sign() {
        let ca = Ca::create().unwrap();
        let thief = ca.issue(&host("web1")).unwrap();
        let key = PrivateKey::from_pem(&thief.key_pem).unwrap();
        let issuer = rcgen::Issuer::from_ca_cert_der(&thief.certificate, key).unwrap();
        let mut thief_ca = Ca::create().unwrap();
        thief_ca.issuer = issuer;
        let signed = thief_ca.issue(&host("web2")).unwrap();
        let chain = [&signed.certificate, &thief.certificate];
        let refused = verify(&ca, &chain, "web2", Duration::ZERO);
        assert!(matches!(refused, Err(Error::InvalidCertificate(_))), "{refused:?}");
        assert!(!matches!(
            refused,
            Err(Error::InvalidCertificate(CertificateError::NotValidForName))
        ));
    }

    #[test]
    fn a_leaf_says_what_it_is_even_for_a_name_that_is_no_dns_name() {
        let ca = Ca::create().unwrap();
        for name in ["web1", "42", "rack.1", "a..b", "a-.b", &"x".repeat(63)] {
            let leaf = ca.issue(&host(name)).unwrap();
            let info = CertificateInfo::parse(&leaf.certificate).unwrap();
            assert!(info.is_for(&host(name)) && !info.is_for(&host("other")) && !info.is_ca);
            assert_eq!(info.spki, leaf.spki);
            assert_eq!(spki_hash(&leaf.certificate), Ok(leaf.spki));
            assert_eq!(info.not_after - info.not_before, 365 * 86400 + 3600);
        }
        assert!(spki_hash(b"nonsense").is_err());
    }
}
