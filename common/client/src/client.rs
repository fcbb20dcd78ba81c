//! A controller's credentials and trust: loaded once, for any number of hosts.

use std::sync::Arc;
use std::time::Duration;

use lariat_base::secret::Secret;
use lariat_wire::auth::proof;

use crate::connect::{Connector, Gateway, Route, Trust};
use crate::dial::{Dial, Tcp};
use crate::host::{HostHandle, Limits, Met};
use crate::key_source::KeySource;
use crate::outage::OutageObserver;
use crate::peer::Peer;
use crate::witness::Witness;

/// Connects to the hosts of one fleet.
pub struct Client {
    connector: Arc<Connector>,
    dial: Arc<dyn Dial>,
    keys: Arc<dyn KeySource>,
    limits: Limits,
    met: Met,
    observer: Arc<dyn OutageObserver>,
    witness: Arc<dyn Witness>,
}

impl Client {
    /// Trusts the hosts of one fleet and authenticates with `key`, over TCP.
    pub fn new(trust: Trust, key: Secret) -> Self {
        Self::dialing(trust, key, Arc::new(Tcp))
    }

    /// Trusts the hosts of one fleet and proves itself to them with the keys of `keys`, over TCP.
    pub fn with_keys(trust: Trust, keys: Arc<dyn KeySource>) -> Self {
        Self::all(trust, keys, Arc::new(Tcp))
    }

    /// Connects by `dial` instead of TCP.
    pub fn dialing(trust: Trust, key: Secret, dial: Arc<dyn Dial>) -> Self {
        Self::all(trust, Arc::new(key), dial)
    }

    fn all(trust: Trust, keys: Arc<dyn KeySource>, dial: Arc<dyn Dial>) -> Self {
        Self {
            connector: Arc::new(Connector::new(trust, Arc::clone(&keys))),
            dial,
            keys,
            limits: Limits::default(),
            met: Met::default(),
            observer: Arc::new(()),
            witness: Arc::new(()),
        }
    }

    /// Sets the time limit for connecting to a host and logging in; 10 s by default.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.limits.connect = limit;
        self
    }

    /// Sets how long a connection may stay broken before it is given up; 30 s by default.
    #[must_use]
    pub fn reconnect(mut self, limit: Duration) -> Self {
        self.limits.reconnect = limit;
        self
    }

    /// Whether a host that has never answered is waited for as long. Otherwise one where nothing listens, or that does not
    /// answer at all, is reported at once.
    #[must_use]
    pub fn awaiting_hosts(mut self, awaits: bool) -> Self {
        self.limits.awaits = awaits;
        self
    }

    /// Reports outages to `observer`.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn OutageObserver>) -> Self {
        Self { observer, ..self }
    }

    /// Reports to `witness` what hosts show of their audits.
    #[must_use]
    pub fn witnessed_by(self, witness: Arc<dyn Witness>) -> Self {
        Self { witness, ..self }
    }

    /// A handle for a host, which is not connected yet.
    pub fn host(&self, peer: Peer) -> HostHandle {
        self.dialled(peer, Arc::clone(&self.dial))
    }

    /// A handle for a host that is reached through gateways: the first of them directly, each further one, and then
    /// the host, through the one before. What a gateway passes on is encrypted for the host. `dial` connects to the
    /// first of them, or to the host if there is none.
    pub fn host_via(&self, peer: Peer, dial: Arc<dyn Dial>, gateways: Vec<Peer>) -> HostHandle {
        let through = |dial, gateway: Peer| -> Arc<dyn Dial> {
            Arc::new(Gateway::new(self.route(gateway, dial), self.limits.connect))
        };
        self.dialled(peer, gateways.into_iter().fold(dial, through))
    }

    fn route(&self, peer: Peer, dial: Arc<dyn Dial>) -> Route {
        let (connector, witness) = (Arc::clone(&self.connector), Arc::clone(&self.witness));
        Route::Network { connector, peer, dial, witness }
    }

    fn dialled(&self, peer: Peer, dial: Arc<dyn Dial>) -> HostHandle {
        let key = proof::key_id(&self.keys.key(&peer));
        let (met, observer) = (self.met.clone(), Arc::clone(&self.observer));
        HostHandle::new(self.route(peer, dial), key, self.limits, met, observer)
    }
}
