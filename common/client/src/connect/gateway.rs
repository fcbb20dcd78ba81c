//! Connections through a gateway: an agent that connects to an address for this controller.
//!
//! The session with the gateway is used up by it: both ends end their TLS, and the bytes that follow are those of
//! the connection to the address. So the gateway passes on what is encrypted for the host, and nothing is encrypted
//! twice.

use std::cell::Cell;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lariat_base::name::HostName;
use lariat_wire::protocol::connect::{Connect, Connected};
use lariat_wire::protocol::failure::{self, Failure};

use super::error::Stage;
use super::route::Route;
use crate::broken::Broken;
use crate::dial::{BoxStream, Dial, DialError, Dialing};
use crate::peer::Peer;

/// Connects through a gateway.
pub(crate) struct Gateway {
    route: Route,
    limit: Duration,
    /// Whether the last connection was one that the host had parked there.
    was_parked: AtomicBool,
}

/// The gateway did not do it.
#[derive(Debug, thiserror::Error)]
#[error("{}{why}", self.leg())]
struct Refused {
    gateway: HostName,
    #[source]
    why: Broken,
}

impl Refused {
    /// What names the leg, where the cause does not.
    fn leg(&self) -> String {
        match &self.why {
            Broken::Failed(Failure { cause: failure::Cause::NotParked { .. }, .. }) => {
                String::new()
            }
            _ => format!("{}: ", self.gateway),
        }
    }
}

impl Gateway {
    /// Connects through the gateway at the end of `route`, which may take `limit` to be reached.
    pub(crate) fn new(route: Route, limit: Duration) -> Self {
        Self { route, limit, was_parked: AtomicBool::new(false) }
    }

    /// Takes a connection that the host has parked at the gateway, else has the gateway connect to its address.
    async fn through(&self, peer: &Peer) -> Result<BoxStream, DialError> {
        let (host, port) = match &peer.address {
            Some(address) => (address.host().to_owned(), address.port()),
            None => (String::new(), 0),
        };
        let connect = Connect { parked: Some(peer.name.clone()), host, port, bare: true };
        let stage = Cell::new(Stage::Connect);
        let mut session = self
            .route
            .connect(&connect, self.limit, false, &stage)
            .await
            .map_err(|error| leg(error.is_refusal(), error))?;
        let connected = session.answer::<Connected>().await;
        let refused = |why: Broken| {
            let is_refusal = matches!(&why, Broken::Failed(failure) if failure.is_refusal());
            leg(is_refusal, Refused { gateway: self.route.name().clone(), why })
        };
        let Connected { address } = connected.map_err(refused)?;
        self.was_parked.store(address == format!("host:{}", peer.name), Ordering::Relaxed);
        let bare = session.link.into_stream().bare().await;
        bare.map_err(|error| refused(Broken::Link(error.into())))
    }
}

fn leg(is_refusal: bool, source: impl Error + Send + Sync + 'static) -> DialError {
    DialError::Leg { source: Box::new(source), is_refusal }
}

impl Dial for Gateway {
    fn dial<'a>(&'a self, peer: &'a Peer) -> Dialing<'a> {
        Box::pin(self.through(peer))
    }

    fn has_others(&self) -> bool {
        self.was_parked.load(Ordering::Relaxed)
    }

    fn via(&self) -> Option<String> {
        let Route::Network { peer, dial, .. } = &self.route else { return None };
        let before = dial.via().map(|before| format!("{before},")).unwrap_or_default();
        Some(format!("{before}{}", peer.name))
    }
}
