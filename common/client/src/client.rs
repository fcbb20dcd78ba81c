//! What a controller proves itself with and what it trusts: loaded once, for any number of hosts.

use std::sync::Arc;
use std::time::Duration;

use lariat_base::name::KeyId;
use lariat_base::secret::Secret;
use lariat_wire::auth::proof;

use crate::connect::{Connector, Peer, Route, Trust};
use crate::dial::{Dial, Tcp};
use crate::host::{HostHandle, Limits, Met};
use crate::outage::OutageObserver;

/// Reaches the hosts of one fleet with one key.
pub struct Client {
    connector: Arc<Connector>,
    key: KeyId,
    limits: Limits,
    met: Met,
    observer: Arc<dyn OutageObserver>,
}

impl Client {
    /// Trusts the hosts of one fleet and proves itself to them with `key`, over TCP.
    pub fn new(trust: Trust, key: Secret) -> Self {
        Self::dialing(trust, key, Arc::new(Tcp))
    }

    /// Connects by `dial` instead of TCP.
    pub fn dialing(trust: Trust, key: Secret, dial: Arc<dyn Dial>) -> Self {
        Self {
            key: proof::key_id(&key),
            connector: Arc::new(Connector::new(trust, key, dial)),
            limits: Limits::default(),
            met: Met::default(),
            observer: Arc::new(()),
        }
    }

    /// How long reaching a host and logging in may take; 10 s unless set.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.limits.connect = limit;
        self
    }

    /// How long a connection may stay broken before it is given up; 30 s unless set.
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

    /// A host, to which nothing is connected yet.
    pub fn host(&self, peer: Peer) -> HostHandle {
        let connector = Arc::clone(&self.connector);
        let (met, observer) = (self.met.clone(), Arc::clone(&self.observer));
        let route = Route::Network { connector, peer };
        HostHandle::new(route, self.key, self.limits, met, observer)
    }
}
