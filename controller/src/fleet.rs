//! The fleet as a verb uses it: from a target on the command line to a host that can be reached.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lariat_base::units::parse_duration;
use lariat_client::{Client, HostHandle, Peer, Trust};

use crate::context::Context;
use crate::error::CliError;
use crate::home::CA_CERTIFICATE;
use crate::inventory::{Enrolled, Inventory};
use crate::key::ControllerKey;
use crate::outages::Outages;
use crate::target::Chosen;

// Options of every verb that reaches a host.
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

/// The hosts that a verb can reach, and what they are reached with: loaded once, for any number of them.
pub(crate) struct Fleet {
    way: Way,
    /// The hosts of the fleet; none with `--local`.
    pub(crate) inventory: Inventory,
}

enum Way {
    Enrolled(Client),
    Local(LocalAgent),
}

/// The agent on this machine.
struct LocalAgent {
    socket: PathBuf,
    outages: Outages,
    connect_timeout: Duration,
    reconnect: Duration,
}

impl Fleet {
    /// Loads the inventory, the key and the CA's certificate; nothing of that with `--local`.
    pub(crate) fn load(context: &Context, options: &ReachOptions) -> Result<Self, CliError> {
        let (connect_timeout, reconnect) = (options.connect_timeout, options.reconnect());
        let outages = context.outages.clone();
        if let Some(socket) = context.local.clone() {
            let way = Way::Local(LocalAgent { socket, outages, connect_timeout, reconnect });
            return Ok(Self { way, inventory: Inventory::default() });
        }
        let home = context.home()?;
        let inventory = Inventory::load(&home)?;
        let key = ControllerKey::load(&home)?.secret;
        let trust = Trust::new(home.ca_certificate()?)
            .map_err(|e| CliError::from(e).during(home.path().join(CA_CERTIFICATE).display()))?;
        let client = Client::new(trust, key)
            .connect_timeout(connect_timeout)
            .reconnect(reconnect)
            .observed_by(Arc::new(outages));
        Ok(Self { way: Way::Enrolled(client), inventory })
    }

    /// One of the hosts, which must be enrolled unless it is this machine.
    pub(crate) fn host(&self, chosen: &Chosen) -> Result<HostHandle, CliError> {
        let name = chosen.host.clone();
        match &self.way {
            Way::Enrolled(client) => {
                let (address, enrolled) = self.inventory.enrolled(&name)?;
                let (address, Enrolled { enrolment, spki }) = (address.clone(), enrolled);
                Ok(client.host(Peer { name, address, enrolment, spki: spki.0 }))
            }
            Way::Local(LocalAgent { socket, outages, connect_timeout, reconnect }) => {
                let handle = HostHandle::local(name, socket.clone(), Arc::new(outages.clone()));
                Ok(handle.connecting_within(*connect_timeout).reconnecting(Some(*reconnect)))
            }
        }
    }

    /// Whether the only host is this machine, with `--local`.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.way, Way::Local(_))
    }
}
