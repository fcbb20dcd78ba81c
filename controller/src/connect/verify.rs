//! Whether a certificate is the one of the host that is meant: issued by the fleet, for exactly the
//! host's name whatever its address is, with the key that enrolment wrote down.
//!
//! The chain, its dates and its purpose are webpki's business. Names are compared here, since a
//! host's name need not be a DNS name. There is no way to turn any of it off.

use std::sync::Arc;

use lariat_common::certificate::CertificateInfo;
use lariat_common::name::HostName;
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
pub(crate) enum Rejected {
    /// Another CA, or nobody we know, issued it.
    #[error("its certificate is not of this fleet; is the address right?")]
    OtherFleet,
    /// Its time is over.
    #[error("its certificate has expired (or this machine's clock is wrong); enroll the host anew")]
    Expired,
    /// Its time has not begun.
    #[error("its certificate is not valid yet: this machine's clock is behind")]
    NotYet,
    /// It is the certificate of another host of the fleet.
    #[error("another host answers there: its certificate is for {0}; is the address right?")]
    OtherHost(String),
    /// Right name and fleet, but not the key of this enrolment.
    #[error(
        "the certificate is not the one enrolled; if the host was enrolled anew, copy the new bundle to it, or take the newer hosts.toml"
    )]
    OtherKey,
    /// Anything else.
    #[error("its certificate is not acceptable: {0}")]
    Unacceptable(String),
}

/// Verifies one host.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) name: HostName,
    pub(super) spki: [u8; 32],
}

impl Verifier {
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Rejected> {
        let parsed = ParsedCertificate::try_from(leaf).map_err(|e| rejected(&e))?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )
        .map_err(|e| rejected(&e))?;
        let info =
            CertificateInfo::parse(leaf).map_err(|e| Rejected::Unacceptable(e.to_string()))?;
        if !info.is_for(&self.name) {
            return Err(Rejected::OtherHost(info.names.join(", ")));
        }
        if info.spki != self.spki {
            return Err(Rejected::OtherKey);
        }
        Ok(())
    }
}

/// Webpki's verdict in our words.
fn rejected(error: &Error) -> Rejected {
    let Error::InvalidCertificate(cause) = error else {
        return Rejected::Unacceptable(error.to_string());
    };
    match cause {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Rejected::OtherFleet,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Rejected::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Rejected::NotYet
        }
        other => Rejected::Unacceptable(other.to_string()),
    }
}

/// What [`Verifier`] said, out of the error that TLS made of it.
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
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.verify(leaf, intermediates, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
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
