//! One attempt to connect to a host, under one deadline.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lariat_base::secret::Secret;
use lariat_wire::auth::proof::key_id;
use tokio::time::timeout;

use super::error::{Cause, ConnectError, Stage};
use super::first::First;
use super::login::login;
use super::race::{Greeted, greeted};
use super::session::Session;
use super::tls::Trust;
use crate::dial::Dial;
use crate::key_source::KeySource;
use crate::peer::Peer;

/// How long an attempt may take before another one begins beside it, while the host has not answered yet.
const SECOND_AFTER: Duration = Duration::from_secs(3);

/// How long an attempt during an outage may take before another one begins beside it, so that the end of the
/// outage is noticed within a second.
const AGAIN_AFTER: Duration = Duration::from_millis(700);

/// Connects to the hosts of a fleet. One connector serves any number of connections.
pub(crate) struct Connector {
    trust: Trust,
    keys: Arc<dyn KeySource>,
}

impl Connector {
    /// Trusts the hosts of one fleet, and authenticates with one of `keys`.
    pub(crate) fn new(trust: Trust, keys: Arc<dyn KeySource>) -> Self {
        Self { trust, keys }
    }

    /// Connects to a host by `dial` within `limit` and sends it `first` together with the login. Updates `stage` during
    /// the attempt; `eager` begins further attempts sooner.
    ///
    /// `first` may have reached the agent even if this fails after the login was sent
    /// ([`ConnectError::may_have_asked`]).
    pub(crate) async fn connect(
        &self,
        (peer, dial): (&Peer, &dyn Dial),
        first: &dyn First,
        limit: Duration,
        eager: bool,
        stage: &Cell<Stage>,
    ) -> Result<Session, ConnectError> {
        stage.set(Stage::Connect);
        let every = if eager { AGAIN_AFTER } else { SECOND_AFTER };
        let result =
            match timeout(limit, self.with_each_key((peer, dial), first, every, stage)).await {
                Ok(result) => result,
                Err(_) => Err(Cause::Timeout { stage: stage.get(), limit }),
            };
        result.map_err(|cause| ConnectError {
            host: peer.name.clone(),
            via: dial.via(),
            place: peer.place(),
            stage: stage.get(),
            cause: Box::new(cause),
            lost: None,
        })
    }

    /// Tries another key, if there is one, where the host denies one: the key may have been replaced meanwhile.
    async fn with_each_key(
        &self,
        (peer, dial): (&Peer, &dyn Dial),
        first: &dyn First,
        every: Duration,
        stage: &Cell<Stage>,
    ) -> Result<Session, Cause> {
        let mut key = self.keys.key(peer);
        let mut denied = Vec::new();
        loop {
            let failed = match self.attempt((peer, dial), &key, first, every, stage).await {
                Err(Cause::Denied) => Cause::Denied,
                Err(cause) => return Err(cause),
                Ok(session) => {
                    self.keys.accepted(peer, key_id(&key));
                    return Ok(session);
                }
            };
            denied.push(key_id(&key));
            key = self.keys.another(peer, &denied).ok_or(failed)?;
            stage.set(Stage::Connect);
        }
    }

    async fn attempt(
        &self,
        (peer, dial): (&Peer, &dyn Dial),
        key: &Secret,
        first: &dyn First,
        every: Duration,
        stage: &Cell<Stage>,
    ) -> Result<Session, Cause> {
        let early = first.kind().may_precede_welcome();
        let frame = || first.frame().map_err(|e| Cause::from_link(e, Stage::Connect));
        let request = if early { frame()? } else { Vec::new() };
        let Greeted { mut secured, challenge } =
            greeted(dial, &self.trust, peer, stage, every).await?;
        let asked = Instant::now();
        let welcome = login(&mut secured, &challenge, peer, key, &request, stage).await?;
        let mut session = Session::new(secured.stream, welcome, early.then(|| first.kind()));
        session.certificate = Some(secured.certificate);
        session.round_trip = asked.elapsed();
        if !early {
            let begun = first.begin(session.link.outbox());
            begun.map_err(|e| Cause::from_link(e, Stage::Connect))?;
        }
        Ok(session)
    }
}
