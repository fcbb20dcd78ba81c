//! Reaching a host: TCP, TLS, the login and the first request, under one deadline.
//!
//! Three round trips: TCP's, TLS's (the agent's challenge rides with its half of the handshake), and
//! one for the login with the first request behind it in the same write. Invariant: nothing that a
//! host says is used before its certificate, its enrolled key and its own proof have all held.

mod error;
mod login;
mod race;
mod tcp;
mod tls;
mod verify;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::time::Duration;

use lariat_base::name::{EnrolmentId, HostName};
use lariat_base::secret::Secret;
use lariat_wire::limits::PROBE_AFTER;
use lariat_wire::link::{Link, message_frame};
use lariat_wire::memory::Memory;
use lariat_wire::protocol::Message;
use lariat_wire::protocol::hello::Welcome;
use lariat_wire::tls::Channel;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::address::Address;
use crate::error::CliError;
use crate::home::{CA_CERTIFICATE, Home};
use crate::inventory::Enrolled;

pub(crate) use error::{Cause, ConnectError, Stage};
use race::{Greeted, greeted};
pub(crate) use tls::Trust;
pub(crate) use verify::Rejected;

/// How long an attempt may take before another one begins beside it, when the host was not heard of yet.
const SECOND_AFTER: Duration = Duration::from_secs(3);

/// The same while a connection that was there is missing: an outage's end is to be noticed within a second.
const AGAIN_AFTER: Duration = Duration::from_millis(700);

/// A host as enrolment wrote it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its name, for which its certificate must be.
    pub(crate) name: HostName,
    /// Where its agent listens.
    pub(crate) address: Address,
    /// This enrolment of it.
    pub(crate) enrolment: EnrolmentId,
    /// SHA-256 of its certificate's SubjectPublicKeyInfo.
    pub(crate) spki: [u8; 32],
}

impl Peer {
    /// An enrolled host of the inventory.
    pub(crate) fn new(name: &HostName, address: &Address, enrolled: Enrolled) -> Self {
        let Enrolled { enrolment, spki } = enrolled;
        Self { name: name.clone(), address: address.clone(), enrolment, spki: spki.0 }
    }
}

/// What a controller reaches hosts with. One serves any number of connections.
pub(crate) struct Connector {
    trust: Trust,
    key: Secret,
}

/// An authenticated connection whose first request is on its way.
pub(crate) struct Session {
    /// Both directions.
    pub(crate) link: Link<Channel<TcpStream>>,
    /// What the agent said when the login held.
    pub(crate) welcome: Welcome,
}

/// How long the agent may take to hear that we leave.
const GOODBYE: Duration = Duration::from_secs(1);

impl Session {
    /// Ends it in order. Whether the agent sees that changes nothing.
    pub(crate) async fn leave(mut self) {
        let _ = timeout(GOODBYE, self.link.writer.finish()).await;
    }
}

impl Connector {
    /// With the fleet's CA; proves itself with `key`.
    pub(crate) fn load(home: &Home, key: Secret) -> Result<Self, CliError> {
        let ca = home.ca_certificate()?;
        let trust = Trust::new(ca)
            .map_err(|e| CliError::from(e).during(home.path().join(CA_CERTIFICATE).display()))?;
        Ok(Self::new(trust, key))
    }

    /// Trusts the hosts of one fleet, and proves itself to them with `key`.
    pub(crate) fn new(trust: Trust, key: Secret) -> Self {
        Self { trust, key }
    }

    /// Reaches a host within `limit` and sends it `first` together with the login. `stage` shows meanwhile
    /// how far it has come; `eager` begins further attempts sooner.
    ///
    /// `first` may have reached the agent even when this fails after the login was sent
    /// ([`ConnectError::may_have_asked`]).
    pub(crate) async fn connect<M: Message>(
        &self,
        peer: &Peer,
        first: &M,
        limit: Duration,
        eager: bool,
        stage: &Cell<Stage>,
    ) -> Result<Session, ConnectError> {
        stage.set(Stage::Connect);
        let every = if eager { AGAIN_AFTER } else { SECOND_AFTER };
        let result = match timeout(limit, self.attempt(peer, first, every, stage)).await {
            Ok(result) => result,
            Err(_) => Err(Cause::Timeout { stage: stage.get(), limit }),
        };
        result.map_err(|cause| ConnectError {
            host: peer.name.clone(),
            address: peer.address.clone(),
            stage: stage.get(),
            cause: Box::new(cause),
        })
    }

    async fn attempt<M: Message>(
        &self,
        peer: &Peer,
        first: &M,
        every: Duration,
        stage: &Cell<Stage>,
    ) -> Result<Session, Cause> {
        let request = message_frame(1, first).map_err(|e| Cause::from_link(e, Stage::Connect))?;
        let Greeted { mut stream, exporter, challenge } =
            greeted(&self.trust, peer, stage, every).await?;
        let (key, stream_mut) = (&self.key, &mut stream);
        let welcome =
            login::login(stream_mut, &exporter, &challenge, peer, key, &request, stage).await?;
        // A ping is no request.
        let request = u16::from(!M::KIND.is_session());
        let mut link = Link::with_memory(stream, request, Memory::default());
        link.reader.ping_after(PROBE_AFTER);
        Ok(Session { link, welcome })
    }
}
