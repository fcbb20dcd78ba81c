//! One attempt to reach a host, under one deadline.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use lariat_base::secret::Secret;
use lariat_wire::link::message_frame;
use lariat_wire::protocol::Message;
use tokio::time::timeout;

use super::error::{Cause, ConnectError, Stage};
use super::login::login;
use super::peer::Peer;
use super::race::{Greeted, greeted};
use super::session::Session;
use super::tls::Trust;
use crate::dial::Dial;

/// How long an attempt may take before another one begins beside it, while the host has not answered yet.
const SECOND_AFTER: Duration = Duration::from_secs(3);

/// How long an attempt during an outage may take before another one begins beside it: the end of the outage is to
/// be noticed within a second.
const AGAIN_AFTER: Duration = Duration::from_millis(700);

/// What a controller reaches hosts with. One serves any number of connections.
pub(crate) struct Connector {
    trust: Trust,
    key: Secret,
    dial: Arc<dyn Dial>,
}

impl Connector {
    /// Trusts the hosts of one fleet, proves itself to them with `key`, and connects by `dial`.
    pub(crate) fn new(trust: Trust, key: Secret, dial: Arc<dyn Dial>) -> Self {
        Self { trust, key, dial }
    }

    /// Reaches a host within `limit` and sends it `first` together with the login. `stage` shows meanwhile
    /// how far the attempt has come; `eager` begins further attempts sooner.
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
            place: peer.address.to_string(),
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
        let Greeted { mut secured, challenge } =
            greeted(self.dial.as_ref(), &self.trust, peer, stage, every).await?;
        let welcome = login(&mut secured, &challenge, peer, &self.key, &request, stage).await?;
        Ok(Session::new(secured.stream, welcome, first))
    }
}
