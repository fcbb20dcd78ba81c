//! `lariat forget`: removes a host from the fleet.

use std::process::ExitCode;

use lariat_base::name::HostName;

use crate::context::Context;
use crate::error::CliError;
use crate::inventory::{Inventory, edit};
use crate::output;
use crate::park::{self, Entries};

#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  lariat forget web1

The host's agent still accepts your key until it is stopped there.")]
pub(crate) struct Args {
    /// The host
    #[arg(value_name = "HOST")]
    host: HostName,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let name = args.host;
    forget(&name, context).map_err(|error| error.during(format!("forget {name}")))?;
    output::line(&format!(
        "Forgot {name}. Its agent, if it still runs, goes on until you stop it there: \
         systemctl disable --now lariatd"
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn forget(name: &HostName, context: &Context) -> Result<(), CliError> {
    let home = context.home()?;
    home.require_fleet()?;
    let lock = home.lock()?;
    Inventory::load(&home)?.host(name)?;
    edit::remove(&home, &lock, name)?;
    for gateway in park::gateways_of(&home, name)? {
        let mut entries = Entries::load(&home, &gateway)?;
        entries.remove(name);
        entries.save(&home, &lock, &gateway)?;
        output::note(&format!(
            "{gateway} still takes connections that {name} parks there: lariat key revoke @{name} {gateway}"
        ));
    }
    Ok(())
}
