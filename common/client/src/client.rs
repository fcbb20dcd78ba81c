//! A controller's credentials and trust: loaded once, for any number of hosts.

use std::sync::Arc;
use std::time::Duration;

use lariat_base::secret::Secret;
use lariat_wire::auth::proof;

use crate::connect::{Connector, Peer, Route, Trust};
use crate::dial::{Dial, Tcp};
use crate::host::{HostHandle, Limits, Met};
use crate::key_source::KeySource;
use crate::outage::OutageObserver;
use crate::witness::Witness;

/// Connects to the hosts of one fleet.
pub struct Client {
    connector: Arc<Connector>,
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
            connector: Arc::new(Connector::new(trust, Arc::clone(&keys), dial)),
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
        let (connector, key) = (Arc::clone(&self.connector), proof::key_id(&self.keys.key(&peer)));
        let (met, observer) = (self.met.clone(), Arc::clone(&self.observer));
        let route = Route::Network { connector, peer, witness: Arc::clone(&self.witness) };
        HostHandle::new(route, key, self.limits, met, observer)
    }
}
