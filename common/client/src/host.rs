//! A host, and everything needed to connect to it repeatedly.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lariat_base::lock::lock;
use lariat_base::name::{HostName, KeyId};

use crate::address::Address;
use crate::connect::{ConnectError, First, Route, Session, Stage};
use crate::outage::{Outage, OutageObserver};

/// The least time limit for connecting, whatever the limit of the work on the host: a few round trips over a
/// slow line.
const LEAST: Duration = Duration::from_secs(1);

/// Time limits.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Connecting to the host and logging in.
    pub(crate) connect: Duration,
    /// The outage of a connection.
    pub(crate) reconnect: Duration,
    /// All attempts to send a request for the first time, if that is less.
    asking: Duration,
    /// Whether a host that has never answered is waited for too, as long as an outage may last.
    pub(crate) awaits: bool,
}

impl Default for Limits {
    fn default() -> Self {
        let [connect, reconnect] = [10, 30].map(Duration::from_secs);
        Self { connect, reconnect, asking: Duration::MAX, awaits: false }
    }
}

/// The hosts that have answered. Clones are the same set.
#[derive(Clone, Default)]
pub(crate) struct Met(Arc<Mutex<BTreeSet<HostName>>>);

impl Met {
    fn contains(&self, host: &HostName) -> bool {
        lock(&self.0).contains(host)
    }

    fn insert(&self, host: &HostName) {
        lock(&self.0).insert(host.clone());
    }
}

/// A stand-in for the key of a local connection: the user of this process.
fn local_key() -> KeyId {
    let mut id = *b"local user\0\0\0\0\0\0";
    id[12..].copy_from_slice(&rustix::process::geteuid().as_raw().to_be_bytes());
    KeyId(id)
}

/// A host, and everything needed to connect to it repeatedly.
pub struct HostHandle {
    route: Route,
    key: KeyId,
    limits: Limits,
    outage: Outage,
    met: Met,
}

impl HostHandle {
    pub(crate) fn new(
        route: Route,
        key: KeyId,
        limits: Limits,
        met: Met,
        observer: Arc<dyn OutageObserver>,
    ) -> Self {
        let is_met = met.contains(route.name());
        let outage = Outage::new(observer, route.name().clone(), limits.reconnect, is_met);
        Self { route, key, limits, outage, met }
    }

    /// The agent on this machine, which is connected to over its socket without a key. `name` is the host's
    /// name in messages.
    pub fn local(name: HostName, socket: PathBuf, observer: Arc<dyn OutageObserver>) -> Self {
        let route = Route::Local { name, socket };
        Self::new(route, local_key(), Limits::default(), Met::default(), observer)
    }

    /// The host's name.
    pub fn name(&self) -> &HostName {
        self.route.name()
    }

    /// The address where its agent listens; `None` for the agent on this machine, which has a socket, and for a host that
    /// only dials out.
    pub fn address(&self) -> Option<&Address> {
        self.route.address()
    }

    /// The key that authenticates this controller; for the agent on this machine, a stand-in for the local
    /// user.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// How long a connection may stay broken.
    pub fn reconnect(&self) -> Duration {
        self.limits.reconnect
    }

    /// Whether the host is waited for if it does not answer: it has answered before, or that is wanted in any case.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_met() || self.limits.awaits
    }

    /// The host's outages.
    pub fn outage(&self) -> &Outage {
        &self.outage
    }

    /// Limits the time of the work on the host. Connecting is limited to it as well, but never to less than a
    /// second.
    #[must_use]
    pub fn within(mut self, limit: Option<Duration>) -> Self {
        if let Some(limit) = limit {
            self.limits.asking = limit.max(LEAST);
        }
        self.limits.connect = self.limits.connect.min(self.limits.asking);
        self
    }

    /// Sets the time limit of one attempt to connect.
    #[must_use]
    pub fn connecting_within(mut self, limit: Duration) -> Self {
        self.limits.connect = limit;
        self
    }

    /// Sets how long a connection may stay broken, if that is given.
    #[must_use]
    pub fn reconnecting(mut self, reconnect: Option<Duration>) -> Self {
        if let Some(reconnect) = reconnect {
            self.limits.reconnect = reconnect;
            self.outage.set_limit(reconnect);
        }
        self
    }

    /// The host and its address, for messages.
    pub fn place(&self) -> String {
        self.route.place()
    }

    /// The route to the host, for additional connections.
    pub(crate) fn route(&self) -> &Route {
        &self.route
    }

    /// Whether the host has answered this client.
    pub(crate) fn is_met(&self) -> bool {
        self.met.contains(self.name())
    }

    /// How long a request that was not sent yet may be tried.
    pub(crate) fn asking_limit(&self) -> Duration {
        self.limits.asking
    }

    /// How long one attempt to connect may take.
    pub(crate) fn connect_limit(&self) -> Duration {
        self.limits.connect
    }

    /// Tries once to connect to the host and to send it `first` together with the login, regardless of outages.
    pub(crate) async fn attempt(
        &self,
        first: &dyn First,
        eager: bool,
        stage: &Cell<Stage>,
    ) -> Result<Session, ConnectError> {
        self.route.connect(first, self.limits.connect, eager, stage).await
    }

    /// Tries once to connect to the host and to send it `first` together with the login. Updates `stage` during
    /// the attempt.
    pub(crate) async fn connect(
        &self,
        first: &dyn First,
        stage: &Cell<Stage>,
    ) -> Result<Session, ConnectError> {
        // Boxed, so that futures that wait for a connection stay small.
        let connected = Box::pin(self.attempt(first, self.outage.is_on(), stage));
        let connected = self.outage.during(connected).await;
        if connected.as_ref().err().is_none_or(ConnectError::may_have_asked) {
            self.met.insert(self.name());
        }
        if connected.is_ok() {
            self.outage.back();
        }
        connected
    }
}
