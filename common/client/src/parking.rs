//! What a host does that can't be reached from outside: it dials a gateway, and parks the connection there until a
//! controller's bytes follow on it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use lariat_base::name::{EnrolmentId, HostName};
use lariat_base::secret::Secret;
use lariat_wire::limits::PING_AFTER;
use lariat_wire::link::LinkError;
use lariat_wire::protocol::connect::{self, Park};
use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;

use crate::address::Address;
use crate::broken::Broken;
use crate::connect::{BadTrust, ConnectError, Connector, Session, Stage, Trust};
use crate::dial::Dial;
use crate::peer::Peer;

/// What the keys of hosts that park are derived for at every gateway, in place of its enrollment: a gateway that is
/// enrolled anew keeps taking them.
pub const ENROLMENT: EnrolmentId = EnrolmentId([0; 16]);

/// Parks connections of one host.
pub struct Parking {
    connector: Connector,
    host: HostName,
}

/// A connection that waits at a gateway.
pub struct Parked {
    session: Session,
}

/// A connection was not parked, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum ParkError {
    /// The gateway could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It refused, or the connection broke.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// Something other than TCP carries it.
    #[error("the connection is not one that can be passed on")]
    NotTcp,
}

impl From<LinkError> for ParkError {
    fn from(error: LinkError) -> Self {
        Self::Broken(error.into())
    }
}

impl Parking {
    /// Parks connections of `host` with its key, at gateways that have a certificate of this CA.
    pub fn new(ca: CertificateDer<'static>, key: Secret, host: HostName) -> Result<Self, BadTrust> {
        let trust = Trust::new(ca)?.by_name();
        Ok(Self { connector: Connector::new(trust, Arc::new(key)), host })
    }

    /// Dials a gateway and parks the connection, all within `limit`.
    pub async fn park(
        &self,
        gateway: &HostName,
        address: &Address,
        dial: &dyn Dial,
        limit: Duration,
    ) -> Result<Parked, ParkError> {
        let (name, address) = (gateway.clone(), Some(address.clone()));
        // Of its key only the CA's word is asked for.
        let peer = Peer { name, address, enrolment: ENROLMENT, spki: [0; 32], next_spki: None };
        let park = Park { host: self.host.clone() };
        let stage = Cell::new(Stage::Connect);
        let connected = self.connector.connect((&peer, dial), &park, limit, false, &stage).await;
        let mut session = connected?;
        session.link.reader.ping_after(PING_AFTER);
        session.answer::<connect::Parked>().await?;
        Ok(Parked { session })
    }
}

impl Parked {
    /// Waits until a controller's bytes follow on the connection. It is kept alive meanwhile.
    pub async fn handed(mut self) -> Result<TcpStream, ParkError> {
        self.session.answer::<connect::Handed>().await?;
        let stream = self.session.link.into_stream().bare().await.map_err(LinkError::from)?;
        stream.into_tcp().ok_or(ParkError::NotTcp)
    }
}
