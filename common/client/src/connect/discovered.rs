//! Verifies what a host says of itself on the local network: see [`lariat_wire::discover`].

use lariat_wire::discover::{Answer, signed};
use rustls::SignatureScheme;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::EndEntityCert;

use super::tls::Trust;
use super::verify::Rejected;

/// An answer does not prove that it is a host's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproved {
    /// It answers another probe.
    #[error("it answers another probe")]
    Nonce,
    /// The certificate is not one of this fleet for this name.
    #[error(transparent)]
    Certificate(Rejected),
    /// The certificate's key has not signed it.
    #[error("its signature is wrong")]
    Signature,
}

impl Trust {
    /// Verifies the answer to a probe with this nonce: the fleet's CA has certified the name, and the certificate's key has
    /// signed. Returns the hash of that key, which enrollment recorded. Nothing proves where the answer comes from.
    pub fn discovered(&self, nonce: &[u8; 32], answer: &Answer) -> Result<[u8; 32], Unproved> {
        if answer.nonce != *nonce {
            return Err(Unproved::Nonce);
        }
        let leaf = CertificateDer::from(answer.certificate.as_slice());
        let spki = self.certified(&answer.name, &leaf, UnixTime::now());
        let spki = spki.map_err(Unproved::Certificate)?;
        let message = signed(nonce, &answer.name, answer.port);
        let scheme = SignatureScheme::from(answer.scheme);
        let known = self.algorithms().mapping.iter().find(|(known, _)| *known == scheme);
        let (_, algorithms) = known.ok_or(Unproved::Signature)?;
        let leaf = EndEntityCert::try_from(&leaf).map_err(|_| Unproved::Signature)?;
        let holds = |algorithm: &&dyn rustls_pki_types::SignatureVerificationAlgorithm| {
            leaf.verify_signature(*algorithm, &message, &answer.signature).is_ok()
        };
        if algorithms.iter().any(holds) { Ok(spki) } else { Err(Unproved::Signature) }
    }
}

#[cfg(test)]
mod tests {
    use lariat_certs::ca::Ca;
    use lariat_wire::tls::provider;
    use rustls_pki_types::PrivateKeyDer;
    use rustls_pki_types::pem::PemObject;

    use super::*;

    fn answer(ca: &Ca, name: &str, says: &str) -> (Answer, [u8; 32]) {
        let leaf = ca.issue(&name.parse().unwrap()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).unwrap();
        let key = provider().key_provider.load_private_key(key).unwrap();
        let signer = key.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]).unwrap();
        let (nonce, name) = ([7; 32], says.parse().unwrap());
        let signature = signer.sign(&signed(&nonce, &name, 7433)).unwrap();
        let (scheme, certificate) = (u16::from(signer.scheme()), leaf.certificate.to_vec());
        (Answer { nonce, name, port: 7433, scheme, signature, certificate }, leaf.spki)
    }

    #[test]
    fn only_what_a_host_of_the_fleet_has_signed_for_this_probe_holds() {
        let [ca, other] = [(); 2].map(|()| Ca::create().unwrap());
        let trust = Trust::new(ca.certificate().clone()).unwrap();
        let (good, spki) = answer(&ca, "web1", "web1");
        assert_eq!(trust.discovered(&[7; 32], &good), Ok(spki));
        assert!(good.encode().is_some_and(|datagram| datagram.len() < 900));
        assert_eq!(trust.discovered(&[8; 32], &good), Err(Unproved::Nonce));
        let signature = Err(Unproved::Signature);
        let port = Answer { port: 7434, ..good.clone() };
        assert_eq!(trust.discovered(&[7; 32], &port), signature);
        for scheme in [0, 0x0503, 0x0807, 0xffff] {
            assert_eq!(trust.discovered(&[7; 32], &Answer { scheme, ..good.clone() }), signature);
        }
        for at in 0..good.signature.len() {
            let mut odd = good.clone();
            odd.signature[at] ^= 1;
            assert_eq!(trust.discovered(&[7; 32], &odd), signature, "{at}");
        }
        let (theirs, _) = answer(&other, "web1", "web1");
        let theirs = trust.discovered(&[7; 32], &theirs);
        assert_eq!(theirs, Err(Unproved::Certificate(Rejected::OtherFleet)));
        let (posing, _) = answer(&ca, "web2", "web1");
        let posing = trust.discovered(&[7; 32], &posing);
        assert!(matches!(posing, Err(Unproved::Certificate(Rejected::OtherHost(_)))));
        let none = Answer { certificate: vec![1, 2, 3], ..good };
        let none = trust.discovered(&[7; 32], &none);
        assert!(matches!(none, Err(Unproved::Certificate(Rejected::Unacceptable(_)))));
    }
}
