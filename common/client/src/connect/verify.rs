//! Verifies that a certificate is the one of the expected host: issued by the fleet's CA, for exactly the
//! host's name whatever its address is, with the key that enrollment recorded.
//!
//! webpki checks the chain, its dates and its purpose. Names are compared here, because a host's name need not
//! be a DNS name. None of it can be turned off.

use std::sync::{Arc, OnceLock};

use lariat_base::certificate::CertificateInfo;
use lariat_base::name::HostName;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Why a host's certificate was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Another CA issued it.
    #[error(
        "its certificate is not of this fleet; is the address right, and is it this fleet's host (--home, LARIAT_HOME)?"
    )]
    OtherFleet,
    /// It has expired.
    #[error(
        "its certificate expired on {}, and this machine's clock says {}; if that is right, try: lariat enroll {host} --ssh \
         [USER@]ADDR",
        date(*not_after), date(*now)
    )]
    Expired {
        /// The host.
        host: HostName,
        /// Its end, in seconds since 1970.
        not_after: u64,
        /// This machine's clock.
        now: u64,
    },
    /// It is not valid yet.
    #[error("its certificate is not valid yet: this machine's clock is behind")]
    NotYet,
    /// It is the certificate of another host of the fleet.
    #[error("another host answers there: its certificate is for {0}; is the address right?")]
    OtherHost(String),
    /// Right name and fleet, but not the key of this enrollment.
    #[error(
        "the certificate is not the one enrolled; if the host was enrolled anew, copy the new bundle to it; if another operator did that, or renewed it with a new key, take their lariat fleet export: lariat fleet import"
    )]
    OtherKey,
    /// Anything else.
    #[error("its certificate is not acceptable: {0}")]
    Unacceptable(String),
}

fn date(seconds: u64) -> String {
    lariat_base::date::format(seconds).unwrap_or_else(|| seconds.to_string())
}

/// Verifies one host.
#[derive(Debug)]
pub(super) struct Verifier {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    name: HostName,
    /// `None` if the name is enough.
    pins: Option<Pins>,
    verified: OnceLock<CertificateInfo>,
}

/// The hash of the key that enrollment recorded, and of the one that may follow.
pub(super) type Pins = ([u8; 32], Option<[u8; 32]>);

impl Verifier {
    /// A verifier of this host's certificate.
    pub(super) fn new(
        (roots, provider): (Arc<RootCertStore>, Arc<CryptoProvider>),
        name: HostName,
        pins: Option<Pins>,
    ) -> Self {
        Self { roots, provider, name, pins, verified: OnceLock::new() }
    }

    /// The certificate that a handshake has verified.
    pub(super) fn verified(&self) -> Option<CertificateInfo> {
        self.verified.get().cloned()
    }

    /// Verifies a certificate.
    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<CertificateInfo, Rejected> {
        // The fleet's CA issues every host's certificate directly: intermediate certificates are ignored.
        let parsed = ParsedCertificate::try_from(leaf).map_err(|e| rejected(&self.name, &e))?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, &[], now, algorithms)
            .map_err(|e| rejected(&self.name, &e))?;
        let info =
            CertificateInfo::parse(leaf).map_err(|e| Rejected::Unacceptable(e.to_string()))?;
        if !info.is_for(&self.name) {
            return Err(Rejected::OtherHost(info.names.join(", ")));
        }
        match self.pins {
            Some((spki, next)) if info.spki != spki && Some(info.spki) != next => {
                Err(Rejected::OtherKey)
            }
            Some(_) | None => Ok(info),
        }
    }
}

/// Classifies an error of webpki.
fn rejected(host: &HostName, error: &Error) -> Rejected {
    let Error::InvalidCertificate(cause) = error else {
        return Rejected::Unacceptable(error.to_string());
    };
    match cause {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Rejected::OtherFleet,
        CertificateError::ExpiredContext { time, not_after } => {
            let (host, not_after) = (host.clone(), not_after.as_secs());
            Rejected::Expired { host, not_after, now: time.as_secs() }
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Rejected::NotYet
        }
        other => Rejected::Unacceptable(other.to_string()),
    }
}

/// The verdict of [`Verifier`], from the error that TLS wraps it in.
pub(super) fn verdict(error: &Error) -> Option<Rejected> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
            inner.downcast_ref().cloned()
        }
        _ => None,
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.verify(leaf, now) {
            Ok(info) => {
                // A connection has one handshake, and that one certificate.
                self.verified.get_or_init(|| info);
                Ok(ServerCertVerified::assertion())
            }
            Err(why) => Err(CertificateError::Other(OtherError(Arc::new(why))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, leaf, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use lariat_wire::tls::provider;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa,
        KeyPair,
    };

    use super::*;

    fn ca(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    #[test]
    fn only_what_the_fleets_ca_has_issued_itself_is_a_hosts_certificate() {
        let root = CertifiedIssuer::self_signed(ca("fleet"), KeyPair::generate().unwrap()).unwrap();
        let below =
            CertifiedIssuer::signed_by(ca("below"), KeyPair::generate().unwrap(), &root).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(vec!["web1".to_owned()]).unwrap();
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let (good, bad) =
            (leaf.signed_by(&key, &root).unwrap(), leaf.signed_by(&key, &below).unwrap());
        let mut roots = RootCertStore::empty();
        roots.add(root.der().clone()).unwrap();
        let pins = (CertificateInfo::parse(good.der()).unwrap().spki, None);
        let trusted = (Arc::new(roots), provider());
        let verifier = Verifier::new(trusted, "web1".parse().unwrap(), Some(pins));
        let server = ServerName::try_from("web1").unwrap();
        let verdict = |leaf: &rcgen::Certificate, chain: &[CertificateDer<'_>]| {
            let outcome =
                verifier.verify_server_cert(leaf.der(), chain, &server, &[], UnixTime::now());
            outcome.map(|_| ()).map_err(|error| verdict(&error).unwrap())
        };
        let chain = [below.der().clone(), root.der().clone()];
        assert_eq!(verdict(&good, &[]), Ok(()));
        assert_eq!(verdict(&good, &chain), Ok(()), "what comes along changes nothing");
        assert_eq!(verdict(&bad, &chain), Err(Rejected::OtherFleet));
        assert_eq!(verdict(&bad, &chain[..1]), Err(Rejected::OtherFleet));
        let late = UnixTime::since_unix_epoch(std::time::Duration::from_secs(80_000_000_000));
        let expired = verifier.verify_server_cert(good.der(), &[], &server, &[], late);
        let expired = super::verdict(&expired.unwrap_err()).unwrap().to_string();
        assert!(
            expired
                .contains("expired on 4096-01-01T00:00:00Z, and this machine's clock says 4505-"),
            "{expired}"
        );
    }
}
