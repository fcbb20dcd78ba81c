//! The way to one host.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lariat_base::name::HostName;
use lariat_wire::protocol::Message;

use super::connector::Connector;
use super::error::{ConnectError, Stage};
use super::local;
use super::peer::Peer;
use super::session::Session;
use crate::address::Address;

/// The way to one host.
#[derive(Clone)]
pub(crate) enum Route {
    /// Over the network, to a host that was enrolled.
    Network {
        /// What it is reached with.
        connector: Arc<Connector>,
        /// The host.
        peer: Peer,
    },
    /// To the agent on this machine, over its socket.
    Local {
        /// What the host is called.
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

    /// The host's address, if it is reached by one.
    pub(crate) fn address(&self) -> Option<&Address> {
        match self {
            Self::Network { peer, .. } => Some(&peer.address),
            Self::Local { .. } => None,
        }
    }

    /// Where the host is, for messages.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Network { peer, .. } => peer.address.to_string(),
            Self::Local { socket, .. } => socket.display().to_string(),
        }
    }

    /// Tries once to reach the host and to send it `first`: see [`Connector::connect`].
    pub(crate) async fn connect<M: Message>(
        &self,
        first: &M,
        limit: Duration,
        eager: bool,
        stage: &Cell<Stage>,
    ) -> Result<Session, ConnectError> {
        match self {
            Self::Network { connector, peer } => {
                connector.connect(peer, first, limit, eager, stage).await
            }
            Self::Local { name, socket } => local::connect(name, socket, first, limit, stage).await,
        }
    }
}
