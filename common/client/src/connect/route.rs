//! The route to one host.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lariat_base::name::HostName;

use super::connector::Connector;
use super::error::{ConnectError, Stage, way};
use super::first::First;
use super::local;
use super::session::Session;
use crate::address::Address;
use crate::dial::Dial;
use crate::peer::Peer;
use crate::witness::Witness;

/// The route to one host.
#[derive(Clone)]
pub(crate) enum Route {
    /// Over the network, to an enrolled host.
    Network {
        /// Makes the connections.
        connector: Arc<Connector>,
        /// The host.
        peer: Peer,
        /// Makes connections to its address.
        dial: Arc<dyn Dial>,
        /// Remembers what the host shows of its audit, and its certificate.
        witness: Arc<dyn Witness>,
    },
    /// To the agent on this machine, over its socket.
    Local {
        /// The host's name.
        name: HostName,
        /// The socket.
        socket: PathBuf,
    },
}

impl Route {
    /// The host's name.
    pub(crate) fn name(&self) -> &HostName {
        match self {
            Self::Network { peer, .. } => &peer.name,
            Self::Local { name, .. } => name,
        }
    }

    /// Whether it is the agent on this machine.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Self::Local { .. })
    }

    /// The host's address, if it has one.
    pub(crate) fn address(&self) -> Option<&Address> {
        match self {
            Self::Network { peer, .. } => peer.address.as_ref(),
            Self::Local { .. } => None,
        }
    }

    /// The host, and its address, its socket or the gateways on the way, for messages.
    pub(crate) fn place(&self) -> String {
        let (via, place) = match self {
            Self::Network { peer, dial, .. } => (dial.via(), peer.place()),
            Self::Local { socket, .. } => (None, socket.display().to_string()),
        };
        format!("{}{}", self.name(), way(via.as_deref(), &place))
    }

    /// Tries once to connect to the host and to send it `first`: see [`Connector::connect`].
    pub(crate) async fn connect(
        &self,
        first: &dyn First,
        limit: Duration,
        eager: bool,
        stage: &Cell<Stage>,
    ) -> Result<Session, ConnectError> {
        match self {
            Self::Network { connector, peer, dial, witness } => {
                let mut shown = witness.connecting(peer);
                let mut session =
                    connector.connect((peer, &**dial), first, limit, eager, stage).await?;
                session.certificate.iter().for_each(|info| witness.certified(peer, info));
                shown(session.welcome.audit);
                session.link.reader.on_audit(shown);
                Ok(session)
            }
            Self::Local { name, socket } => local::connect(name, socket, first, limit, stage).await,
        }
    }
}
