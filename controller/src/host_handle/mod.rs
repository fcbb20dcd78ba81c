//! From a target on the command line to a connection to its host.

mod retry;
mod watch;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lariat_base::name::{HostName, KeyId};
use lariat_base::units::parse_duration;
use lariat_wire::auth::proof;
use lariat_wire::protocol::Message;

use crate::connect::{ConnectError, Connector, Peer, Session, Stage};
use crate::context::Context;
use crate::error::CliError;
use crate::inventory::Inventory;
use crate::key::ControllerKey;
use crate::outage::{Outage, Outages};
use crate::target::Chosen;

pub(crate) use retry::Retry;
pub(crate) use watch::Watched;

/// What reaching a host may take at least, whatever the limit of the work that is to be done there: a
/// few round trips over a slow line.
const LEAST: Duration = Duration::from_secs(1);

/// The options of every verb that reaches a host.
#[derive(clap::Args)]
pub(crate) struct ReachOptions {
    /// How long reaching the host and logging in may take
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = parse_limit)]
    pub(crate) connect_timeout: Duration,

    /// How long a connection may stay broken before it is given up, and a command that it follows ended
    /// [default: 30s; of shell: 5m]
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub(crate) reconnect: Option<Duration>,
}

/// How long a connection may stay broken when nothing is said.
const RECONNECT: Duration = Duration::from_secs(30);

impl Default for ReachOptions {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(10), reconnect: None }
    }
}

impl ReachOptions {
    /// How long a connection may stay broken.
    pub(crate) fn reconnect(&self) -> Duration {
        self.reconnect.unwrap_or(RECONNECT)
    }
}

/// Reads how long something may take; a limit of nothing would only be a failure in other words.
pub(crate) fn parse_limit(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(limit) if limit.is_zero() => Err("a time limit can't be 0".to_owned()),
        Ok(limit) => Ok(limit),
        Err(bad) => Err(bad.to_string()),
    }
}

/// The fleet's hosts, and what proves both ends to each other: loaded once, for any number of them.
pub(crate) struct Fleet {
    connector: Arc<Connector>,
    /// The hosts.
    pub(crate) inventory: Inventory,
    key: KeyId,
    limit: Duration,
    reconnect: Duration,
    /// Hosts that have answered.
    met: Met,
    outages: Outages,
}

type Met = Arc<Mutex<BTreeSet<HostName>>>;

/// A host, and everything that is needed to reach it as often as one likes.
pub(crate) struct Reach {
    connector: Arc<Connector>,
    /// The host.
    pub(crate) peer: Peer,
    /// The key that proves this controller.
    pub(crate) key: KeyId,
    limit: Duration,
    /// How long the connection may stay broken.
    pub(crate) reconnect: Duration,
    /// How long what was not asked yet may be tried, if that is less.
    asking: Duration,
    /// The connection, as long as it is missing.
    pub(crate) outage: Outage,
    met: Met,
}

impl Fleet {
    /// Loads the inventory, the key and the CA's certificate.
    pub(crate) fn load(context: &Context, options: &ReachOptions) -> Result<Self, CliError> {
        let home = context.home()?;
        let inventory = Inventory::load(&home)?;
        let key = ControllerKey::load(&home)?.secret;
        let id = proof::key_id(&key);
        let connector = Arc::new(Connector::load(&home, key)?);
        Ok(Self {
            connector,
            inventory,
            key: id,
            limit: options.connect_timeout,
            reconnect: options.reconnect(),
            met: Met::default(),
            outages: context.outages.clone(),
        })
    }

    /// One of the hosts, which must be there.
    pub(crate) fn reach(&self, chosen: &Chosen) -> Result<Reach, CliError> {
        let (address, enrolled) = self.inventory.enrolled(&chosen.host)?;
        let peer = Peer::new(&chosen.host, address, enrolled);
        let met = is_met(&self.met, &peer.name);
        let outage = Outage::new(self.outages.clone(), peer.name.clone(), self.reconnect, met);
        Ok(Reach {
            connector: Arc::clone(&self.connector),
            peer,
            key: self.key,
            limit: self.limit,
            reconnect: self.reconnect,
            asking: Duration::MAX,
            outage,
            met: Arc::clone(&self.met),
        })
    }
}

fn is_met(met: &Met, host: &HostName) -> bool {
    met.lock().unwrap_or_else(PoisonError::into_inner).contains(host)
}

impl Reach {
    /// The same for work that may take so long: reaching the host takes no longer then either, though a
    /// limit that is short for a command leaves it [`LEAST`].
    pub(crate) fn within(self, limit: Option<Duration>) -> Self {
        let asking = limit.map_or(self.asking, |limit| limit.max(LEAST));
        Self { limit: self.limit.min(asking), asking, ..self }
    }

    /// The same, but for a connection that may stay broken so long, if that is said.
    pub(crate) fn reconnecting(self, reconnect: Option<Duration>) -> Self {
        let reconnect = reconnect.unwrap_or(self.reconnect);
        let mut reach = Self { reconnect, ..self };
        reach.outage.set_limit(reconnect);
        reach
    }

    /// Whether the host has answered in this invocation.
    pub(crate) fn is_met(&self) -> bool {
        is_met(&self.met, &self.peer.name)
    }

    /// Tries once to reach the host and to send it `first` together with the login. `stage` shows meanwhile
    /// how far it has come.
    async fn connect<M: Message>(
        &self,
        first: &M,
        stage: &Cell<Stage>,
    ) -> Result<Session, ConnectError> {
        let eager = self.outage.is_on();
        // Boxed, so that what waits for a connection does not hold the room of making one.
        let connected =
            Box::pin(self.connector.connect(&self.peer, first, self.limit, eager, stage));
        let connected = self.outage.during(connected).await;
        if connected.as_ref().err().is_none_or(ConnectError::may_have_asked) {
            let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
            met.insert(self.peer.name.clone());
        }
        if connected.is_ok() {
            self.outage.back();
        }
        connected
    }
}
