//! `lariat hosts import`: adds the hosts of an ssh client configuration to the inventory. It does not enroll
//! them: such a file proves no identity.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;

use lariat_base::escape::escape;
use lariat_base::name::HostName;
use lariat_client::Address;

use super::ssh_config::{self, SshHost};
use crate::context::Context;
use crate::error::CliError;
use crate::inventory::{Host, Inventory, Tag, edit};
use crate::output;
use crate::target::fold;

#[derive(clap::Args)]
#[command(after_long_help = "\
Each name after Host becomes a host with HostName as its address and lariat's own port. Patterns are skipped, \
and hosts that the inventory has already. Then enroll each of them: lariat enroll NAME.

Examples:
  lariat hosts import ~/.ssh/config
  lariat hosts import ~/.ssh/config --tag office")]
pub(crate) struct Args {
    /// The ssh client configuration
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Tag for each of them; repeatable
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<Tag>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let shown = escape(args.file.as_os_str().as_bytes());
    let text = std::fs::read_to_string(&args.file)
        .map_err(|error| CliError::from(error).during(format!("read {shown}")))?;
    let config = ssh_config::parse(&text);
    for included in &config.included {
        output::note(&format!("{shown} includes {included}, which is not looked into"));
    }
    let home = context.home()?;
    home.require_fleet()?;
    let lock = home.lock()?;
    let inventory = Inventory::load(&home)?;
    let mut added: Vec<(HostName, Host)> = Vec::new();
    for ssh in config.hosts {
        match host(&ssh, &args.tags) {
            Err(why) => output::note(&format!("{} is left out: {}", ssh.name, why.line())),
            Ok((name, _)) if inventory.contains(&name) => {
                output::note(&format!("{name} is left out: it is in the inventory already"));
            }
            Ok((name, _)) if added.iter().any(|(other, _)| *other == name) => {
                output::note(&format!("{} is left out: {name} is another one", ssh.name));
            }
            Ok(host) => {
                if host.0.as_str() != ssh.name {
                    output::note(&format!(
                        "{} becomes {}: a name has no capitals",
                        ssh.name, host.0
                    ));
                }
                added.push(host);
            }
        }
    }
    let Some((first, _)) = added.first() else {
        output::note("no new host");
        return Ok(ExitCode::SUCCESS);
    };
    edit::add_all(&home, &lock, &added)?;
    let names = fold(added.iter().map(|(name, _)| name.as_str()));
    output::line(&format!("Added {names}. Next, for each of them: lariat enroll {first}"))?;
    Ok(ExitCode::SUCCESS)
}

/// The inventory entry of an ssh host. Its name is made lower case.
fn host(ssh: &SshHost, tags: &[Tag]) -> Result<(HostName, Host), CliError> {
    let name: HostName = ssh.name.to_ascii_lowercase().parse()?;
    let bare = ssh.address.contains(':') && !ssh.address.starts_with('[');
    let address = if bare { format!("[{}]", ssh.address) } else { ssh.address.clone() };
    let address: Address = address.parse()?;
    let address = Some(address);
    Ok((name, Host { address, tags: tags.to_vec(), via: None, proxy: None, enrolled: None }))
}
