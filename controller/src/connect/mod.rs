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
use lariat_common::tls::Channel;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::address::Address;
use crate::error::CliError;
use crate::home::{CA_CERTIFICATE, Home};
use crate::inventory::Enrolled;

pub(crate) use error::{Cause, ConnectError, Stage};
pub(crate) use tls::Trust;
pub(crate) use verify::Rejected;

/// The waits between the attempts to reach an agent that hangs up at once, on average.
const HANGUP_WAITS: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(400),
    Duration::from_secs(1),
];

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

    /// Reaches a host within `limit` and sends it `first` together with the login.
    ///
    /// An agent that has no place for us at the moment hangs up before it says anything. Nothing has
    /// left us then, so that is tried a few times more.
    ///
    /// `first` may have reached the agent even when this fails after the login was sent
    /// ([`ConnectError::may_have_asked`]).
    pub(crate) async fn connect<M: Message>(
        &self,
        peer: &Peer,
        first: &M,
        limit: Duration,
    ) -> Result<Session, ConnectError> {
        self.connect_seen(peer, first, limit, &Cell::new(Stage::Connect)).await
    }

    /// The same for who wants to see in `stage` meanwhile how far it has come.
    pub(crate) async fn connect_seen<M: Message>(
        &self,
        peer: &Peer,
        first: &M,
        limit: Duration,
        stage: &Cell<Stage>,
    ) -> Result<Session, ConnectError> {
        stage.set(Stage::Connect);
        let work = self.attempts(peer, first, stage, limit);
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

    async fn attempts<M: Message>(
        &self,
        peer: &Peer,
        first: &M,
        stage: &Cell<Stage>,
        limit: Duration,
    ) -> Result<Session, Cause> {
        let began = Instant::now();
        for base in HANGUP_WAITS {
            match self.attempt(peer, first, stage, limit.saturating_sub(began.elapsed())).await {
                Err(Cause::Hangup) => {}
                result => return result,
            }
            // Many of us may have been sent away at once; they are not to come back at once.
            let wait = base.mul_f64(0.5 + rand::random::<f64>());
            if began.elapsed() + wait >= limit {
                // That it hung up says more than that the time is over.
                return Err(Cause::Hangup);
            }
            sleep(wait).await;
            stage.set(Stage::Connect);
        }
        self.attempt(peer, first, stage, limit.saturating_sub(began.elapsed())).await
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
        let (mut stream, exporter) = self.trust.handshake(peer, tcp).await?;
        stage.set(Stage::Login);
        let welcome =
            login::login(&mut stream, &exporter, peer, &self.key, &request, stage).await?;
        Ok(Session { link: Link::new(stream), welcome })
    }
}
