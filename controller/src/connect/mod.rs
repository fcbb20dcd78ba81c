//! Reaching a host: TCP, TLS, the login and the first request, under one deadline.
//!
//! Three round trips: TCP's, TLS's (the agent's challenge rides with its half of the handshake), and
//! one for the login with the first request behind it in the same write. Invariant: nothing that a
//! host says is used before its certificate, its enrolled key and its own proof have all held.

mod error;
mod login;
mod tcp;
mod tls;
mod verify;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::time::Duration;

use lariat_common::link::{Link, message_frame};
use lariat_common::name::{EnrolmentId, HostName};
use lariat_common::protocol::Message;
use lariat_common::protocol::hello::Welcome;
use lariat_common::secret::Secret;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

pub use error::{Cause, ConnectError, Stage};
pub use tls::{BadTrust, Trust};
pub use verify::Rejected;

/// A host as enrolment wrote it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name, for which its certificate must be.
    pub name: HostName,
    /// Where it is: `IP:PORT` or `NAME:PORT`.
    pub address: String,
    /// This enrolment of it.
    pub enrolment: EnrolmentId,
    /// SHA-256 of its certificate's SubjectPublicKeyInfo.
    pub spki: [u8; 32],
}

/// What a controller reaches hosts with. One serves any number of connections.
pub struct Connector {
    trust: Trust,
    key: Secret,
}

/// An authenticated connection whose first request is on its way.
pub struct Session {
    /// Both directions.
    pub link: Link<TlsStream<TcpStream>>,
    /// What the agent said when the login held.
    pub welcome: Welcome,
}

impl Connector {
    /// Trusts the hosts of one fleet, and proves itself to them with `key`.
    pub fn new(trust: Trust, key: Secret) -> Self {
        Self { trust, key }
    }

    /// Reaches a host within `limit` and sends it `first` together with the login.
    ///
    /// `first` may have reached the agent even when this fails after the login was sent
    /// ([`ConnectError::may_have_asked`]).
    pub async fn connect<M: Message>(
        &self,
        peer: &Peer,
        first: &M,
        limit: Duration,
    ) -> Result<Session, ConnectError> {
        let stage = Cell::new(Stage::Connect);
        let work = self.attempt(peer, first, &stage, limit);
        let result = match timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(Cause::Timeout { stage: stage.get(), limit }),
        };
        result.map_err(|cause| ConnectError {
            host: peer.name.clone(),
            address: peer.address.clone(),
            asked: stage.get() == Stage::Answer,
            cause: Box::new(cause),
        })
    }

    async fn attempt<M: Message>(
        &self,
        peer: &Peer,
        first: &M,
        stage: &Cell<Stage>,
        limit: Duration,
    ) -> Result<Session, Cause> {
        let request = message_frame(first).map_err(|e| Cause::from_link(e, Stage::Connect))?;
        let tcp = tcp::connect(&peer.address, limit).await?;
        stage.set(Stage::Tls);
        let mut stream = self.trust.handshake(peer, tcp).await?;
        stage.set(Stage::Login);
        let welcome = login::login(&mut stream, peer, &self.key, &request, stage).await?;
        Ok(Session { link: Link::new(stream), welcome })
    }
}
