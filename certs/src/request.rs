//! Signing requests (PKCS#10, RFC 2986): a host asks for a certificate, and its private key stays where it is.

use lariat_base::name::HostName;
use rcgen::{CertificateParams, CertificateSigningRequestParams, PublicKey, PublicKeyData};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::CertsError;
use crate::ca::Ca;
use crate::issue::leaf_params;
use crate::key::{PrivateKey, to_pem};

/// Creates a private key, as PKCS#8 PEM. Only for a private file.
pub fn generate_key() -> Result<Zeroizing<String>, CertsError> {
    Ok(PrivateKey::generate()?.to_pem())
}

/// Creates a request for a certificate of this private key, as DER.
pub fn signing_request(key_pem: &str) -> Result<Vec<u8>, CertsError> {
    let key = PrivateKey::from_pem(key_pem)?;
    let request = CertificateParams::default().serialize_request(&key)?;
    Ok(request.der().to_vec())
}

/// A certificate as PEM.
pub fn certificate_pem(der: &[u8]) -> String {
    to_pem("CERTIFICATE", der).to_string()
}

/// The public key of a host that has signed a request, and so has the private key.
pub struct RequestedKey(PublicKey);

impl RequestedKey {
    /// Verifies a request. Only its public key is taken: what else it asks for is ignored.
    pub fn verify(request: &[u8]) -> Result<Self, CertsError> {
        let request = CertificateSigningRequestParams::from_der(&request.into());
        request.map(|request| Self(request.public_key)).map_err(|_| CertsError::BadRequest)
    }

    /// SHA-256 of its SubjectPublicKeyInfo.
    pub fn spki(&self) -> [u8; 32] {
        Sha256::digest(self.0.subject_public_key_info()).into()
    }
}

impl Ca {
    /// Issues a host's certificate, as [`Ca::issue`] does, for a key that the host has already.
    pub fn issue_for(
        &self,
        host: &HostName,
        key: &RequestedKey,
    ) -> Result<CertificateDer<'static>, CertsError> {
        let certificate = leaf_params(host, self.not_after)?.signed_by(&key.0, &self.issuer)?;
        Ok(certificate.into())
    }
}

#[cfg(test)]
mod tests {
    use lariat_base::certificate::CertificateInfo;

    use super::*;

    #[test]
    fn a_certificate_is_issued_for_the_key_that_signed_the_request() {
        let ca = Ca::create().unwrap();
        let host: HostName = "web1".parse().unwrap();
        let first = ca.issue(&host).unwrap();
        let request = signing_request(&first.key_pem).unwrap();
        let key = RequestedKey::verify(&request).unwrap();
        assert_eq!(key.spki(), first.spki);
        let info = CertificateInfo::parse(&ca.issue_for(&host, &key).unwrap()).unwrap();
        assert!(info.is_for(&host) && !info.is_ca);
        assert_eq!(info.spki, first.spki);
        assert_eq!(info.not_after - info.not_before, 365 * 86400 + 3600);
    }

    #[test]
    fn a_request_counts_for_nothing_but_its_key() {
        let pem = generate_key().unwrap();
        let mut params = CertificateParams::new(["web2".to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let request = params.serialize_request(&PrivateKey::from_pem(&pem).unwrap()).unwrap();
        let key = RequestedKey::verify(request.der()).unwrap();
        let host = "web1".parse().unwrap();
        let issued = Ca::create().unwrap().issue_for(&host, &key).unwrap();
        let info = CertificateInfo::parse(&issued).unwrap();
        assert!(info.is_for(&host) && !info.is_ca && info.names.len() == 1);
    }

    #[test]
    fn a_request_with_a_flipped_bit_is_refused() {
        let request = signing_request(&generate_key().unwrap()).unwrap();
        for byte in 0..request.len() {
            let mut flipped = request.clone();
            flipped[byte] ^= 1;
            let verified = RequestedKey::verify(&flipped).map(|key| key.spki());
            // Some bits of the encoding count for nothing.
            let unchanged = RequestedKey::verify(&request).unwrap().spki();
            assert!(verified.is_err() || verified.is_ok_and(|spki| spki == unchanged), "{byte}");
        }
        assert!(RequestedKey::verify(b"").is_err());
    }
}
