//! `lariat discover`: finds the fleet's hosts on the local network.

use std::process::ExitCode;
use std::time::Duration;

use lariat_base::name::HostName;
use lariat_client::Address;
use serde::Serialize;

use super::ping::round_trip;
use crate::context::Context;
use crate::discover::{Found, discover};
use crate::error::CliError;
use crate::fleet::{self, Fleet, ReachOptions};
use crate::inventory::{Inventory, edit};
use crate::output::{self, json};
use crate::runtime::block_on;

/// How long a host may take to answer at its old address, and to log in at the new one.
const LOGIN: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
#[command(after_long_help = "\
Agents answer that have discover = true in their agent.toml, on the networks that this machine is attached to. Each \
answer is signed with the host's own key. What is not of this fleet, or has another key than the host that was enrolled, is \
passed over.

Examples:
  lariat discover
  lariat discover --update --timeout 5s")]
pub(crate) struct Args {
    /// Write new addresses to the inventory
    ///
    /// Only that of a host which does not answer at the old one, and logs in at the new one.
    #[arg(long)]
    update: bool,

    /// How long to wait for answers
    #[arg(long, value_name = "DUR", value_parser = fleet::parse_limit, default_value = "2s")]
    timeout: Duration,

    /// Print one JSON object per host
    ///
    /// Its fields: host, address, enrolled, updated.
    #[arg(long)]
    json: bool,
}

/// A host that was found.
#[derive(Serialize)]
struct Row<'a> {
    host: &'a HostName,
    address: String,
    /// Whether the inventory has it as an enrolled host.
    enrolled: bool,
    /// Whether its new address was written to the inventory.
    updated: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    search(args, context).map_err(|error| error.during("discover"))?;
    Ok(ExitCode::SUCCESS)
}

fn search(args: &Args, context: &Context) -> Result<(), CliError> {
    let home = context.home()?;
    let inventory = Inventory::load(&home)?;
    let ca = home.ca_certificate()?;
    let reach = ReachOptions {
        connect_timeout: LOGIN,
        reconnect: Some(Duration::ZERO),
        ..ReachOptions::default()
    };
    let fleet = args.update.then(|| Fleet::load(context, &reach)).transpose()?;
    block_on(async {
        let found: Found = discover(&ca, &inventory, args.timeout).await?;
        let hosts = found.hosts(&inventory);
        if hosts.is_empty() {
            output::note("no host has answered; they need discover = true in agent.toml");
        }
        for (host, address) in hosts {
            let known = inventory.host(host).ok();
            let enrolled = known.is_some_and(|known| known.enrolled.is_some());
            let updated = match &fleet {
                Some(fleet) => update(host, address, fleet, context).await?,
                None => false,
            };
            let address = address.to_string();
            if args.json {
                output::bytes(&json::line(&Row { host, address, enrolled, updated })?)?;
            } else {
                output::line(&format!("{host} {address}"))?;
                if updated {
                    output::note(&format!("{host}: its address in the inventory is {address} now"));
                }
            }
        }
        Ok(())
    })
}

/// Writes a host's new address to the inventory, if nothing answers at the old one and the host itself at the new one.
/// Returns whether that was done.
async fn update(
    name: &HostName,
    address: &Address,
    fleet: &Fleet,
    context: &Context,
) -> Result<bool, CliError> {
    let Ok(host) = fleet.inventory.host(name) else { return Ok(false) };
    let (Some(enrolled), Some(old)) = (host.enrolled, &host.address) else { return Ok(false) };
    // Behind a gateway or a proxy, the address is another machine's view.
    if old == address || host.via.is_some() || host.proxy.is_some() {
        return Ok(false);
    }
    let answers = async |at: &Address| match fleet.new_host(name, at, enrolled) {
        Some(handle) => round_trip(&handle).await.is_ok(),
        None => false,
    };
    if answers(old).await {
        output::note(&format!("{name} also answers at {address}; it still does at {old}"));
        return Ok(false);
    }
    if !answers(address).await {
        output::note(&format!("{name} was found at {address}, but does not let this key in there"));
        return Ok(false);
    }
    let home = context.home()?;
    let lock = home.lock()?;
    let mut host = Inventory::load(&home)?.host(name)?.clone();
    // It was changed meanwhile.
    if host.address.as_ref() != Some(old) {
        return Ok(false);
    }
    host.address = Some(address.clone());
    edit::add(&home, &lock, name, &host)?;
    Ok(true)
}
