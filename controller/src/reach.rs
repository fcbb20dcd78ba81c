//! From a target on the command line to a connection to its host.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use lariat_common::auth::proof;
use lariat_common::name::KeyId;
use lariat_common::protocol::Message;
use lariat_common::units::parse_duration;

use crate::connect::{ConnectError, Connector, Peer, Session, Stage};
use crate::context::Context;
use crate::error::CliError;
use crate::inventory::Inventory;
use crate::key::ControllerKey;
use crate::target::Chosen;

/// What reaching a host may take at least, whatever the limit of the work that is to be done there: a
/// few round trips over a slow line.
const LEAST: Duration = Duration::from_secs(1);

/// The options of every verb that reaches a host.
#[derive(clap::Args)]
pub(crate) struct ReachOptions {
    /// How long reaching the host and logging in may take
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = parse_limit)]
    pub(crate) connect_timeout: Duration,
}

impl Default for ReachOptions {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(10) }
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
}

/// A host, and everything that is needed to reach it as often as one likes.
pub(crate) struct Reach {
    connector: Arc<Connector>,
    /// The host.
    pub(crate) peer: Peer,
    /// The key that proves this controller.
    pub(crate) key: KeyId,
    limit: Duration,
}

impl Fleet {
    /// Loads the inventory, the key and the CA's certificate.
    pub(crate) fn load(context: &Context, options: &ReachOptions) -> Result<Self, CliError> {
        let home = context.home()?;
        let inventory = Inventory::load(&home)?;
        let key = ControllerKey::load(&home)?.secret;
        let id = proof::key_id(&key);
        let connector = Arc::new(Connector::load(&home, key)?);
        Ok(Self { connector, inventory, key: id, limit: options.connect_timeout })
    }

    /// One of the hosts, which must be there.
    pub(crate) fn reach(&self, chosen: &Chosen) -> Result<Reach, CliError> {
        let (address, enrolled) = self.inventory.enrolled(&chosen.host)?;
        Ok(Reach {
            connector: Arc::clone(&self.connector),
            peer: Peer::new(&chosen.host, address, enrolled),
            key: self.key,
            limit: self.limit,
        })
    }
}

impl Reach {
    /// The same for work that may take so long: reaching the host takes no longer then either, though a
    /// limit that is short for a command leaves it [`LEAST`].
    pub(crate) fn within(self, limit: Option<Duration>) -> Self {
        let limit = limit.map_or(self.limit, |limit| self.limit.min(limit.max(LEAST)));
        Self { limit, ..self }
    }

    /// Reaches the host and sends it `first` together with the login.
    pub(crate) async fn connect<M: Message>(&self, first: &M) -> Result<Session, ConnectError> {
        self.connector.connect(&self.peer, first, self.limit).await
    }

    /// The same for who wants to see in `stage` meanwhile how far it has come.
    pub(crate) async fn connect_seen<M: Message>(
        &self,
        first: &M,
        stage: &Cell<Stage>,
    ) -> Result<Session, ConnectError> {
        self.connector.connect_seen(&self.peer, first, self.limit, stage).await
    }
}
