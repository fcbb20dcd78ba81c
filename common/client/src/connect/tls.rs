//! The client's TLS: version 1.3 only, ALPN required, no resumption, no server name.

use std::io;
use std::sync::Arc;

use lariat_base::certificate::CertificateInfo;
use lariat_base::name::HostName;
use lariat_wire::auth::proof::Exporter;
use lariat_wire::tls::{ALPN, Channel, RecordAligned, Secrets, exporter, provider};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, DnsName, ServerName, UnixTime};
use tokio_rustls::TlsConnector;

use super::error::Cause;
use super::verify::{Pins, Rejected, Verifier, verdict};
use crate::dial::BoxStream;
use crate::peer::Peer;

/// A connection after its handshake: the input of a login, independent of TLS.
pub(super) struct Secured {
    /// The plain bytes.
    pub(super) stream: BoxStream,
    /// Binds the login to this connection.
    pub(super) exporter: Exporter,
    /// The host's certificate.
    pub(super) certificate: CertificateInfo,
}

/// The fleet whose hosts are trusted: its CA, and no other.
#[derive(Clone)]
pub struct Trust {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    /// Whether a host's key must be the one that enrollment recorded.
    has_pins: bool,
}

/// The CA's certificate can't be trusted to issue others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid CA certificate")]
pub struct BadTrust;

impl Trust {
    /// Trusts what this CA issues.
    pub fn new(ca: CertificateDer<'static>) -> Result<Self, BadTrust> {
        let mut roots = RootCertStore::empty();
        roots.add(ca).map_err(|_| BadTrust)?;
        Ok(Self { roots: Arc::new(roots), provider: provider(), has_pins: true })
    }

    /// Trusts whatever key this CA has certified for a host's name: for a host that dials a gateway, and goes on to dial
    /// it when that is enrolled anew.
    pub(crate) fn by_name(self) -> Self {
        Self { has_pins: false, ..self }
    }

    /// Verifies that a certificate is one of this CA for this name, now, whatever its key. Returns the key's hash.
    pub(super) fn certified(
        &self,
        name: &HostName,
        leaf: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<[u8; 32], Rejected> {
        self.verifier(name.clone(), None).verify(leaf, now).map(|info| info.spki)
    }

    /// The signatures that can be verified.
    pub(super) fn algorithms(&self) -> WebPkiSupportedAlgorithms {
        self.provider.signature_verification_algorithms
    }

    /// Does the TLS handshake, in which the peer must be this host.
    pub(super) async fn handshake(&self, peer: &Peer, stream: BoxStream) -> Result<Secured, Cause> {
        let pins = self.has_pins.then_some((peer.spki, peer.next_spki));
        let verifier = Arc::new(self.verifier(peer.name.clone(), pins));
        let (mut config, secrets) = (self.config(Arc::clone(&verifier)), Secrets::default());
        secrets.keep_client(&mut config);
        let connector = TlsConnector::from(Arc::new(config));
        // The verifier compares the name itself, and it is not sent.
        let unused = ServerName::DnsName(
            DnsName::try_from_str("lariat.invalid").expect("it is a DNS name").to_owned(),
        );
        let stream =
            connector.connect(unused, RecordAligned::new(stream)).await.map_err(|e| cause(&e))?;
        let (stream, connection) = stream.into_inner();
        if connection.alpn_protocol() != Some(ALPN) {
            return Err(Cause::NotLariat);
        }
        let exporter = exporter(&connection).map_err(Cause::Tls)?;
        let unverified = || Cause::Tls(rustls::Error::NoCertificatesPresented);
        let certificate = verifier.verified().ok_or_else(unverified)?;
        let channel = Channel::take_over(stream, connection, &secrets)
            .map_err(|error| Cause::Io(io::Error::other(error)))?;
        Ok(Secured { stream: Box::new(channel), exporter, certificate })
    }

    fn verifier(&self, name: HostName, pins: Option<Pins>) -> Verifier {
        Verifier::new((self.roots.clone(), self.provider.clone()), name, pins)
    }

    fn config(&self, verifier: Arc<Verifier>) -> ClientConfig {
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has ciphers and key exchanges of TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        config.enable_sni = false;
        config
    }
}

/// Why the handshake failed: the verifier's verdict, a TLS error, or an error of the stream.
fn cause(error: &io::Error) -> Cause {
    use rustls::{AlertDescription as Alert, Error};
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        None if error.kind() == io::ErrorKind::UnexpectedEof => Cause::Hangup,
        None if error.kind() == io::ErrorKind::ConnectionReset => Cause::Hangup,
        None => Cause::Io(io::Error::new(error.kind(), error.to_string())),
        Some(Error::InvalidMessage(_)) => Cause::NotTls,
        Some(Error::AlertReceived(Alert::NoApplicationProtocol)) => Cause::NotLariat,
        Some(Error::AlertReceived(Alert::ProtocolVersion) | Error::PeerIncompatible(_)) => {
            Cause::NotLariat
        }
        Some(error) => match verdict(error) {
            Some(rejected) => Cause::Rejected(rejected),
            None => Cause::Tls(error.clone()),
        },
    }
}
