//! `lariat enroll`: makes a host part of the fleet.
//!
//! The bundle is made first, beside its place, and moved there whole; the inventory changes last. So
//! a failure at any step leaves a host that is not enrolled, never half of one.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lariat_common::auth::proof::HostKeys;
use lariat_common::escape::escape;
use lariat_common::name::{EnrolmentId, HostName};

use crate::address::Address;
use crate::bundle::{self, Bundle};
use crate::context::Context;
use crate::error::CliError;
use crate::inventory::{Host, Inventory, Spki, Tag, edit};
use crate::key::ControllerKey;
use crate::output;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  lariat enroll web1 --address 10.0.0.1 --tag web --tag berlin
  lariat enroll db1 --address '[fd00::7]:7500' --out /root/db1-bundle

The bundle has the host's private key in it. Take it to the host safely, and remove it here.")]
pub(crate) struct Args {
    /// The host's name in the fleet
    #[arg(value_name = "HOST")]
    host: HostName,

    /// Where its agent will listen: an IP address or DNS name, port 7433 if none is given
    #[arg(long, value_name = "ADDR[:PORT]")]
    address: Address,

    /// A tag, for targets such as @web; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<Tag>,

    /// The bundle's folder [default: ./HOST.lariat]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let name = args.host.clone();
    let out = args.out.clone().unwrap_or_else(|| format!("{name}.lariat").into());
    enroll(args, &out, context).map_err(|error| error.during(format!("enroll {name}")))?;
    let out = escape(out.as_os_str().as_bytes());
    output::line(&format!(
        "Enrolled {name}. Its bundle is {out}: take it there safely, then, on {name}:\n  \
           lariatd --config {out}/agent.toml\n\
         Next: lariat ping {name}"
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn enroll(args: Args, out: &Path, context: &Context) -> Result<(), CliError> {
    let home = context.home()?;
    home.require_fleet()?;
    let lock = home.lock()?;
    let inventory = Inventory::load(&home)?;
    let name = args.host;
    if inventory.contains(&name) {
        let address = &inventory.host(&name)?.address;
        let message = format!("it is enrolled already, at {address}; nothing was changed");
        return Err(
            CliError::new(message).hint(format!("lariat forget {name} first, to enroll it anew"))
        );
    }
    let key = ControllerKey::load(&home)?;
    let leaf = home.ca()?.issue(&name)?;
    let enrolment = EnrolmentId::generate()?;
    let verifier = HostKeys::derive(&key.secret, &name, &enrolment).verifier();
    let mut tags: Vec<Tag> = Vec::new();
    for tag in args.tags {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    let host = Host { address: args.address, tags, enrolment, spki: Spki(leaf.spki) };
    let bundle = Bundle { name: &name, host: &host, leaf: &leaf, key: &key, verifier: &verifier };
    let installed = bundle::install(&bundle, out)?;
    edit::add(&home, &lock, &name, &host)?;
    installed.keep();
    Ok(())
}
