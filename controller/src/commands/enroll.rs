//! `lariat enroll`: adds a host to the fleet.
//!
//! The bundle is created first, in a temporary directory that is renamed; the inventory changes last. So after
//! a failure at any step the host is not enrolled.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lariat_base::escape::escape;
use lariat_base::name::{EnrolmentId, HostName, KeyLabel};
use lariat_client::Address;
use lariat_wire::auth::proof::HostKeys;

use crate::bundle::{self, Bundle};
use crate::context::Context;
use crate::error::CliError;
use crate::inventory::{Enrolled, Host, Inventory, Spki, Tag, edit};
use crate::key::ControllerKey;
use crate::known_keys::KnownKeys;
use crate::output;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  lariat enroll web1 --address 10.0.0.1 --tag web --tag berlin
  lariat enroll db1 --address '[fd00::7]:7500' --out /root/db1-bundle
  lariat enroll web7                           one that lariat hosts import has added

The bundle has the host's private key in it. Take it to the host safely, and remove it here.")]
pub(crate) struct Args {
    /// The host's name in the fleet
    #[arg(value_name = "HOST")]
    host: HostName,

    /// Where its agent will listen: an IP address or DNS name, the default port is 7433; can be
    /// omitted for a host that is in the inventory already, such as an imported one
    #[arg(long, value_name = "ADDR[:PORT]")]
    address: Option<Address>,

    /// A tag, for targets such as @web; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<Tag>,

    /// The bundle's directory [default: ./HOST.lariat]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let name = args.host.clone();
    let out = args.out.clone().unwrap_or_else(|| format!("{name}.lariat").into());
    let label = enroll(args, &out, context);
    let label = label.map_err(|error| error.during(format!("enroll {name}")))?;
    let out = escape(out.as_os_str().as_bytes());
    output::line(&format!(
        "Enrolled {name}. Its bundle is {out}: take it there safely, then, on {name}:\n  \
           lariatd --config {out}/agent.toml\n\
         Next: lariat ping {name}"
    ))?;
    tell_missing(&name, &label, context)?;
    Ok(ExitCode::SUCCESS)
}

/// A host that is new, or was enrolled anew, has none of the keys of others.
fn tell_missing(name: &HostName, label: &KeyLabel, context: &Context) -> Result<(), CliError> {
    let known = KnownKeys::load(&context.home()?)?;
    let missing = known.missing(name, label.as_str());
    if !missing.is_empty() {
        output::note(&format!(
            "{name} lacks keys that were seen on it or on other hosts. Their owners need the new export, and \
             lariat key request {name}:"
        ));
        missing.iter().for_each(|(label, rules)| output::note(&format!("  {label}: {rules}")));
    }
    Ok(())
}

/// Returns the label of the key that the host has.
fn enroll(args: Args, out: &Path, context: &Context) -> Result<KeyLabel, CliError> {
    let home = context.home()?;
    home.require_fleet()?;
    let lock = home.lock()?;
    let inventory = Inventory::load(&home)?;
    let name = args.host;
    let known = if inventory.contains(&name) { Some(inventory.host(&name)?) } else { None };
    if let Some(Host { address, enrolled: Some(_), .. }) = known {
        let message = format!("it is enrolled already, at {address}; nothing was changed");
        return Err(
            CliError::new(message).hint(format!("lariat forget {name} first, to enroll it anew"))
        );
    }
    let key = ControllerKey::load(&home, context.key.as_ref())?;
    let leaf = home.ca()?.issue(&name)?;
    let enrolment = EnrolmentId::generate()?;
    let verifier = HostKeys::derive(&key.secret, &name, &enrolment).verifier();
    let no_address = || {
        CliError::new("it is not in the inventory, so it needs an address")
            .hint(format!("lariat enroll {name} --address ADDR"))
    };
    let address = args.address.or_else(|| Some(known?.address.clone())).ok_or_else(no_address)?;
    let mut tags = known.map(|known| known.tags.clone()).unwrap_or_default();
    for tag in args.tags {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    let enrolled = Some(Enrolled { enrolment, spki: Spki(leaf.spki), next: None });
    let host = Host { address, tags, enrolled };
    let (verifier, leaf, key) = (&verifier, &leaf, &key);
    let bundle = Bundle { name: &name, host: &host, enrolment, leaf, key, verifier };
    let installed = bundle::install(&bundle, out)?;
    edit::add(&home, &lock, &name, &host)?;
    installed.keep();
    Ok(key.label.clone())
}
