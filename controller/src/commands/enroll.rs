//! `lariat enroll`: makes a host part of the fleet.
//!
//! The bundle is made first, beside its place, and moved there whole; the inventory changes last. So
//! a failure at any step leaves a host that is not enrolled, never half of one.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lariat_base::escape::escape;
use lariat_base::name::{EnrolmentId, HostName};
use lariat_client::Address;
use lariat_wire::auth::proof::HostKeys;

use crate::bundle::{self, Bundle};
use crate::context::Context;
use crate::error::CliError;
use crate::inventory::{Enrolled, Host, Inventory, Spki, Tag, edit};
use crate::key::ControllerKey;
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

    /// Where its agent will listen: an IP address or DNS name, port 7433 if none is given; can be left
    /// out for a host that is in the inventory already, such as an imported one
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
    let known = if inventory.contains(&name) { Some(inventory.host(&name)?) } else { None };
    if let Some(Host { address, enrolled: Some(_), .. }) = known {
        let message = format!("it is enrolled already, at {address}; nothing was changed");
        return Err(
            CliError::new(message).hint(format!("lariat forget {name} first, to enroll it anew"))
        );
    }
    let key = ControllerKey::load(&home)?;
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
    let enrolled = Some(Enrolled { enrolment, spki: Spki(leaf.spki) });
    let host = Host { address, tags, enrolled };
    let (verifier, leaf, key) = (&verifier, &leaf, &key);
    let bundle = Bundle { name: &name, host: &host, enrolment, leaf, key, verifier };
    let installed = bundle::install(&bundle, out)?;
    edit::add(&home, &lock, &name, &host)?;
    installed.keep();
    Ok(())
}
