//! Loads the fleet, and turns hosts of a target into handles that connect to them.

use std::sync::Arc;
use std::time::Duration;

use lariat_base::name::HostName;
use lariat_base::units::parse_duration;
use lariat_client::{Address, Client, Dial, HostHandle, KeySource, Peer, Tcp, Trust};

use crate::context::Context;
use crate::error::CliError;
use crate::home::CA_CERTIFICATE;
use crate::inventory::{Enrolled, Inventory, Spki};
use crate::key_chain::KeyChain;
use crate::local::OwnHost;
use crate::outages::Outages;
use crate::ssh::{Bastions, ProxyDial};
use crate::target::Chosen;
use crate::via::{Leg, Via};
use crate::way::way;

// Options of every verb that reaches a host.
#[derive(clap::Args)]
pub(crate) struct ReachOptions {
    /// Time limit for connecting and logging in
    #[arg(help_heading = "Connection", long, value_name = "DUR", default_value = "10s", hide_short_help = true, value_parser = parse_limit)]
    pub(crate) connect_timeout: Duration,

    /// How long to retry a broken connection [default: 30s; shell: 5m; forward: 1d]
    ///
    /// Where it is given, a host that does not answer at first is waited for as long. A command that lariat follows is ended
    /// by its host if nobody reconnects within this time.
    #[arg(help_heading = "Connection", long, value_name = "DUR", hide_short_help = true, value_parser = parse_duration)]
    pub(crate) reconnect: Option<Duration>,

    /// Gateways on the way: hosts or ssh:[USER@]HOST; none
    ///
    /// Each is reached through the one before. `none` connects directly, whatever hosts.toml says.
    #[arg(
        help_heading = "Connection",
        short = 'J',
        long,
        value_name = "VIA[,VIA]",
        hide_short_help = true
    )]
    pub(crate) jump: Option<Via>,
}

/// The default for how long a connection may stay broken.
const RECONNECT: Duration = Duration::from_secs(30);

impl Default for ReachOptions {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(10), reconnect: None, jump: None }
    }
}

impl ReachOptions {
    /// How long a connection may stay broken.
    pub(crate) fn reconnect(&self) -> Duration {
        self.reconnect.unwrap_or(RECONNECT)
    }
}

/// Parses a time limit. A limit of 0 would make everything fail.
pub(crate) fn parse_limit(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(limit) if limit.is_zero() => Err("a time limit can't be 0".to_owned()),
        Ok(limit) => Ok(limit),
        Err(bad) => Err(bad.to_string()),
    }
}

/// The hosts that a verb can reach, and the credentials: loaded once for all of them.
pub(crate) struct Fleet {
    way: Way,
    /// The hosts of the fleet; none with `--local`.
    pub(crate) inventory: Inventory,
}

enum Way {
    Enrolled(Network),
    Local(LocalAgent),
}

/// The hosts of a fleet, and the ways to them.
struct Network {
    client: Client,
    jump: Option<Via>,
    bastions: Bastions,
}

/// The agent on this machine.
struct LocalAgent {
    own: OwnHost,
    outages: Outages,
    connect_timeout: Duration,
    reconnect: Duration,
}

impl Fleet {
    /// Loads the inventory, the key and the CA's certificate; with `--local`, none of them.
    pub(crate) fn load(context: &Context, options: &ReachOptions) -> Result<Self, CliError> {
        let (connect_timeout, reconnect) = (options.connect_timeout, options.reconnect());
        let outages = context.outages.clone();
        if let Some(own) = context.local.clone() {
            let way = Way::Local(LocalAgent { own, outages, connect_timeout, reconnect });
            return Ok(Self { way, inventory: Inventory::default() });
        }
        let home = context.home()?;
        home.require_fleet()?;
        let keys = KeyChain::load(&home, context.key.as_ref())?;
        Self::with_keys(context, options, keys)
    }

    /// Loads the inventory and the CA's certificate. Logins are made with `keys`.
    pub(crate) fn with_keys(
        context: &Context,
        options: &ReachOptions,
        keys: Arc<dyn KeySource>,
    ) -> Result<Self, CliError> {
        let home = context.home()?;
        let inventory = Inventory::load(&home)?;
        let trust = Trust::new(home.ca_certificate()?)
            .map_err(|e| CliError::from(e).during(home.path().join(CA_CERTIFICATE).display()))?;
        let client = Client::with_keys(trust, keys)
            .connect_timeout(options.connect_timeout)
            .reconnect(options.reconnect())
            .awaiting_hosts(options.reconnect.is_some())
            .observed_by(Arc::new(context.outages.clone()))
            .witnessed_by(Arc::new(context.seen.keep_in(&home)));
        let (jump, bastions) = (options.jump.clone(), context.bastions.clone());
        Ok(Self { way: Way::Enrolled(Network { client, jump, bastions }), inventory })
    }

    /// A handle for an enrolled host that has just taken this key.
    pub(crate) fn host_with_key(&self, chosen: &Chosen, key: Spki) -> Result<HostHandle, CliError> {
        self.handle(chosen, Some(key))
    }

    /// A handle for one host, which must be enrolled unless it is this machine.
    pub(crate) fn host(&self, chosen: &Chosen) -> Result<HostHandle, CliError> {
        self.handle(chosen, None)
    }

    fn handle(&self, chosen: &Chosen, key: Option<Spki>) -> Result<HostHandle, CliError> {
        let name = chosen.host.clone();
        match &self.way {
            Way::Enrolled(network) => {
                let (address, enrolled) = self.inventory.enrolled(&name)?;
                let enrolled = Enrolled { next: key.or(enrolled.next), ..enrolled };
                network.host(&self.inventory, peer(name, address, enrolled))
            }
            Way::Local(LocalAgent { own, outages, connect_timeout, reconnect }) => {
                own.check(&name)?;
                let observer = Arc::new(outages.clone());
                let handle = HostHandle::local(name, own.socket.clone(), observer);
                Ok(handle.connecting_within(*connect_timeout).reconnecting(Some(*reconnect)))
            }
        }
    }

    /// A handle for a host that has been enrolled since the inventory was loaded; `None` with `--local`.
    pub(crate) fn new_host(
        &self,
        name: &HostName,
        address: &Address,
        enrolled: Enrolled,
    ) -> Option<HostHandle> {
        match &self.way {
            Way::Enrolled(network) => {
                network.host(&self.inventory, peer(name.clone(), Some(address), enrolled)).ok()
            }
            Way::Local(_) => None,
        }
    }

    /// Whether the only host is this machine, with `--local`.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.way, Way::Local(_))
    }
}

impl Network {
    /// A handle for a host, with the way to it.
    fn host(&self, inventory: &Inventory, peer: Peer) -> Result<HostHandle, CliError> {
        let own = inventory.host(&peer.name).ok();
        // A command connects in whatever way it likes, unless the operator says otherwise now.
        let proxy = own.and_then(|host| host.proxy.as_ref());
        let proxy = proxy.filter(|_| self.jump.is_none());
        let legs = match proxy {
            Some(_) => Vec::new(),
            None => way(inventory, &peer.name, self.jump.as_ref())?,
        };
        let proxy = proxy.or_else(|| {
            // The one of all hosts is for whatever is connected to first.
            inventory.defaults().proxy.as_ref().filter(|_| !has_ssh(&legs))
        });
        if legs.is_empty() && proxy.is_none() {
            return Ok(self.client.host(peer));
        }
        let mut dial: Arc<dyn Dial> = match proxy {
            Some(proxy) => Arc::new(ProxyDial(proxy.clone())),
            None => Arc::new(Tcp),
        };
        let mut gateways = Vec::new();
        for leg in legs {
            match leg {
                Leg::Ssh(place) => dial = self.bastions.at(&place),
                Leg::Host(name) => {
                    let (address, enrolled) = inventory.enrolled(&name)?;
                    gateways.push(self::peer(name, address, enrolled));
                }
            }
        }
        Ok(self.client.host_via(peer, dial, gateways))
    }
}

fn has_ssh(legs: &[Leg]) -> bool {
    matches!(legs.first(), Some(Leg::Ssh(_)))
}

fn peer(name: HostName, address: Option<&Address>, enrolled: Enrolled) -> Peer {
    let Enrolled { enrolment, spki, next } = enrolled;
    let next_spki = next.map(|next| next.0);
    Peer { name, address: address.cloned(), enrolment, spki: spki.0, next_spki }
}
