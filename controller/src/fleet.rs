//! The fleet as a verb uses it: from a target on the command line to a host that can be reached.

use std::sync::Arc;
use std::time::Duration;

use lariat_base::units::parse_duration;
use lariat_client::{Client, HostHandle, Peer, Trust};

use crate::context::Context;
use crate::error::CliError;
use crate::home::CA_CERTIFICATE;
use crate::inventory::{Enrolled, Inventory};
use crate::key::ControllerKey;
use crate::target::Chosen;

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

/// How long a connection may stay broken unless an option says otherwise.
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

/// Parses a time limit. A limit of 0 would only make every use of it fail.
pub(crate) fn parse_limit(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(limit) if limit.is_zero() => Err("a time limit can't be 0".to_owned()),
        Ok(limit) => Ok(limit),
        Err(bad) => Err(bad.to_string()),
    }
}

/// The fleet's hosts, and what they are reached with: loaded once, for any number of them.
pub(crate) struct Fleet {
    client: Client,
    /// The hosts.
    pub(crate) inventory: Inventory,
}

impl Fleet {
    /// Loads the inventory, the key and the CA's certificate.
    pub(crate) fn load(context: &Context, options: &ReachOptions) -> Result<Self, CliError> {
        let home = context.home()?;
        let inventory = Inventory::load(&home)?;
        let key = ControllerKey::load(&home)?.secret;
        let trust = Trust::new(home.ca_certificate()?)
            .map_err(|e| CliError::from(e).during(home.path().join(CA_CERTIFICATE).display()))?;
        let client = Client::new(trust, key)
            .connect_timeout(options.connect_timeout)
            .reconnect(options.reconnect())
            .observed_by(Arc::new(context.outages.clone()));
        Ok(Self { client, inventory })
    }

    /// One of the hosts, which must be enrolled.
    pub(crate) fn host(&self, chosen: &Chosen) -> Result<HostHandle, CliError> {
        let (address, Enrolled { enrolment, spki }) = self.inventory.enrolled(&chosen.host)?;
        let (name, address) = (chosen.host.clone(), address.clone());
        Ok(self.client.host(Peer { name, address, enrolment, spki: spki.0 }))
    }
}
