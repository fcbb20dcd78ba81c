//! Private keys: P-256, zeroized when dropped. They are converted to and from PEM without copies that stay in
//! memory (rcgen's own PEM functions leave some).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::CertsError;

/// PEM's line length, in characters.
const LINE: usize = 64;

/// A key pair whose DER is zeroized when it is dropped.
pub(crate) struct PrivateKey(KeyPair);

impl PrivateKey {
    pub(crate) fn generate() -> Result<Self, CertsError> {
        Ok(Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
    }

    /// Parses the first private key in a PEM text.
    pub(crate) fn from_pem(pem: &str) -> Result<Self, CertsError> {
        let mut der =
            PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| CertsError::BadKey)?;
        let key = KeyPair::try_from(&der);
        der.zeroize();
        key.map(Self).map_err(|_| CertsError::BadKey)
    }

    /// The key as PKCS#8 PEM.
    pub(crate) fn to_pem(&self) -> Zeroizing<String> {
        to_pem("PRIVATE KEY", self.0.serialized_der())
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    pub(crate) fn spki(&self) -> [u8; 32] {
        Sha256::digest(self.0.subject_public_key_info()).into()
    }
}

/// DER as PEM (RFC 7468).
pub(crate) fn to_pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let base64 = Zeroizing::new(STANDARD.encode(der));
    // Allocated at once: a String that grows leaves its old bytes behind.
    let mut pem = Zeroizing::new(String::with_capacity(base64.len() * 2 + 128));
    for part in ["-----BEGIN ", label, "-----\n"] {
        pem.push_str(part);
    }
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(LINE));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    for part in ["-----END ", label, "-----\n"] {
        pem.push_str(part);
    }
    pem
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_there_and_back() {
        let key = PrivateKey::generate().unwrap();
        let pem = key.to_pem();
        assert_eq!(pem.trim_end(), key.0.serialize_pem().replace("\r\n", "\n").trim_end());
        let again = PrivateKey::from_pem(&pem).unwrap();
        assert_eq!(again.spki(), key.spki());
        assert!(matches!(PrivateKey::from_pem("nonsense"), Err(CertsError::BadKey)));
    }
}
