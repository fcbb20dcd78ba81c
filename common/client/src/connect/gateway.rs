//! Connections through a gateway: an agent that connects to an address for this controller.
//!
//! The session with the gateway is used up by it: both ends end their TLS, and the bytes that follow are those of
//! the connection to the address. So the gateway passes on what is encrypted for the host, and nothing is encrypted
//! twice.

use std::cell::Cell;
use std::error::Error;
use std::time::Duration;

use lariat_base::name::HostName;
use lariat_wire::protocol::connect::{Connect, Connected};

use super::error::Stage;
use super::route::Route;
use crate::address::Address;
use crate::broken::Broken;
use crate::dial::{BoxStream, Dial, DialError, Dialing};

/// Connects through a gateway.
pub(crate) struct Gateway {
    route: Route,
    limit: Duration,
}

/// The gateway did not do it.
#[derive(Debug, thiserror::Error)]
#[error("{gateway}: {why}")]
struct Refused {
    gateway: HostName,
    #[source]
    why: Broken,
}

impl Gateway {
    /// Connects through the gateway at the end of `route`, which may take `limit` to be reached.
    pub(crate) fn new(route: Route, limit: Duration) -> Self {
        Self { route, limit }
    }

    async fn through(&self, address: &Address) -> Result<BoxStream, DialError> {
        let connect = Connect { host: address.host().to_owned(), port: address.port(), bare: true };
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
        connected.map_err(refused)?;
        let bare = session.link.into_stream().bare().await;
        bare.map_err(|error| refused(Broken::Link(error.into())))
    }
}

fn leg(is_refusal: bool, source: impl Error + Send + Sync + 'static) -> DialError {
    DialError::Leg { source: Box::new(source), is_refusal }
}

impl Dial for Gateway {
    fn dial<'a>(&'a self, address: &'a Address) -> Dialing<'a> {
        Box::pin(self.through(address))
    }

    fn via(&self) -> Option<String> {
        let Route::Network { peer, dial, .. } = &self.route else { return None };
        let before = dial.via().map(|before| format!("{before},")).unwrap_or_default();
        Some(format!("{before}{}", peer.name))
    }
}
