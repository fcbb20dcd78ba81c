//! `lariat enroll`: adds a host to the fleet, by a bundle that a person takes there, or over ssh.
//!
//! The bundle is created first, in a temporary directory that is renamed; the inventory changes last. So after
//! a failure at any step the host is not enrolled.

mod dialling;
mod over_ssh;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lariat_base::certificate::CertificateInfo;
use lariat_base::escape::escape;
use lariat_base::name::{EnrolmentId, HostName, KeyLabel};
use lariat_client::Address;
use lariat_wire::auth::proof::HostKeys;

use crate::bundle::{self, Bundle};
use crate::context::Context;
use crate::error::CliError;
use crate::home::Home;
use crate::inventory::{Enrolled, Host, Inventory, Spki, Tag, edit};
use crate::key::ControllerKey;
use crate::key_hosts;
use crate::known_keys::KnownKeys;
use crate::output;
use crate::park::{Entries, Gateway};
use crate::ssh::Place;
use crate::via::{Leg, Via};

#[derive(clap::Args)]
#[command(after_long_help = "\
With --ssh the agent is installed over your own ssh, as root or with sudo -n: lariatd is copied to \
/usr/local/bin, the host creates its private key, and systemd starts the agent. Run it again after an \
interruption, or to repair a host.

Without --ssh a bundle is written, with the host's private key in it. Copy it to the host safely, and delete it \
here.

Examples:
  lariat enroll web1 --ssh root@10.0.0.1 --tag web
  lariat enroll web1 --ssh web1 --ssh-command 'ssh -J bastion' --address 10.0.0.1
  lariat enroll --from hosts.txt               HOST [USER@]ADDR[:PORT] [TAG...] on each line
  lariat enroll web1 --address 10.0.0.1 --tag web --tag berlin
  lariat enroll db1 --address '[fd00::7]:7500' --out /root/db1-bundle
  lariat enroll web3 --dial gw1                one that nobody can connect to: it dials gw1
  lariat enroll web7                           one that lariat hosts import has added")]
pub(crate) struct Args {
    /// The host's name in the fleet
    #[arg(value_name = "HOST", required_unless_present = "from")]
    host: Option<HostName>,

    /// Address of its agent [default port: 7433]
    ///
    /// An IP address or a DNS name. It can be omitted with --ssh, with --dial, and for a host that is in the inventory
    /// already.
    #[arg(long, value_name = "ADDR[:PORT]")]
    address: Option<Address>,

    /// Tag, for targets such as @web; repeatable
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<Tag>,

    /// Bundle's directory [default: ./HOST.lariat]
    #[arg(long, value_name = "DIR", conflicts_with = "remote")]
    out: Option<PathBuf>,

    /// Host that the new one dials, to be reached there; repeatable
    ///
    /// Without --address the new host listens nowhere. ADDR is where it reaches the gateway, if not where the inventory
    /// says. The gateway's keyring gets a key that can do nothing but park connections of this host.
    #[arg(long, value_name = "GATEWAY[=ADDR]", hide_short_help = true, conflicts_with = "remote")]
    dial: Vec<Gateway>,

    /// Install the agent over ssh; PORT is ssh's
    #[arg(long, value_name = "[USER@]ADDR[:PORT]", group = "remote")]
    ssh: Option<Place>,

    /// Install on the hosts in FILE (- is stdin)
    ///
    /// A line is HOST [USER@]ADDR[:PORT] [TAG...]. 16 hosts are installed at a time.
    #[arg(long, value_name = "FILE", group = "remote", conflicts_with_all = ["host", "address"])]
    from: Option<PathBuf>,

    #[command(flatten)]
    remote: over_ssh::Options,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { host, address, tags, out, dial, ssh, from, remote } = args;
    if let Some(from) = from {
        return over_ssh::many(&from, &tags, &remote, context);
    }
    let Some(name) = host else { return Err(CliError::new("enroll: which host?")) };
    if let Some(place) = ssh {
        return over_ssh::one(name, place, address.as_ref(), tags, &remote, context);
    }
    let out = out.unwrap_or_else(|| format!("{name}.lariat").into());
    let label = enroll(&name, address, &dial, &tags, &out, context);
    let label = label.map_err(|error| error.during(format!("enroll {name}")))?;
    let out = escape(out.as_os_str().as_bytes());
    output::line(&format!(
        "Enrolled {name}. Its bundle is {out}: take it there safely, then, on {name}:\n  \
           lariatd --config {out}/agent.toml\n\
         Next: lariat ping {name}"
    ))?;
    KnownKeys::load(&context.home()?)?.tell_missing(&name, &label);
    Ok(ExitCode::SUCCESS)
}

/// The host's entry in the inventory, if it has one. One that is enrolled already is refused.
fn known(home: &Home, name: &HostName) -> Result<Option<Host>, CliError> {
    let inventory = Inventory::load(home)?;
    let known = inventory.contains(name).then(|| inventory.host(name).cloned()).transpose()?;
    let Some(host) = known.as_ref().filter(|known| known.enrolled.is_some()) else {
        return Ok(known);
    };
    let message = format!("it is enrolled already, at {}; nothing was changed", host.place());
    Err(CliError::new(message).next(format!(
        "lariat renew {name} gives it a new certificate, lariat enroll {name} --ssh ADDR repairs it, and lariat forget \
         {name} removes it from the fleet"
    )))
}

/// Returns the label of the key that the host has.
fn enroll(
    name: &HostName,
    address: Option<Address>,
    dial: &[Gateway],
    tags: &[Tag],
    out: &Path,
    context: &Context,
) -> Result<KeyLabel, CliError> {
    let home = context.home()?;
    home.require_fleet()?;
    let known = known(&home, name)?;
    let key = ControllerKey::load(&home, context.key.as_ref())?;
    let leaf = home.ca()?.issue(name)?;
    let enrolment = EnrolmentId::generate()?;
    let verifier = HostKeys::derive(&key.secret, name, &enrolment).verifier();
    let address = address.or_else(|| known.as_ref()?.address.clone());
    if address.is_none() && dial.is_empty() {
        return Err(CliError::new("it is not in the inventory, so it needs an address")
            .hint(format!("lariat enroll {name} --address ADDR")));
    }
    // A gateway remembers what it is asked for, so everything else that may be in the way comes before it.
    let reserved = bundle::reserve(out)?;
    let dialled = dialling::ask(name, dial, context)?;
    let lock = home.lock()?;
    let known = self::known(&home, name)?;
    let tags = Tag::joined(known.as_ref().map(|known| &*known.tags), tags);
    let enrolled = Some(Enrolled { enrolment, spki: Spki(leaf.spki), next: None });
    let via = dial.first().map(|gateway| Via(vec![Leg::Host(gateway.name.clone())]));
    let host = Host { address, tags, via, proxy: None, enrolled };
    let (verifier, leaf, key) = (&verifier, &leaf, &key);
    let entries = Entries::load(&home, name)?.to_toml();
    let (entries, dials) = (entries.as_str(), dialled.as_ref().map(|dialled| &dialled.dials));
    let ca = home.ca_pem()?;
    let bundle =
        Bundle { name, host: &host, enrolment, leaf, key, verifier, entries, ca: &ca, dials };
    let installed = bundle::install(&bundle, reserved)?;
    edit::add(&home, &lock, name, &host)?;
    installed.keep();
    key_hosts::add(&home, &key.label, &(name.clone(), enrolment), key.id)?;
    if let Some(dialled) = dialled {
        dialled.record(&home, &lock)?;
    }
    if let Ok(info) = CertificateInfo::parse(&leaf.certificate) {
        context.seen.keep_in(&home).certificate_ends(name, enrolment, info.not_after);
    }
    Ok(key.label.clone())
}
