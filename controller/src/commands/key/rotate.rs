//! `lariat key rotate`: replaces one's own key. Each host is told of the new one, which then proves itself by a login
//! and takes the old one's place; the old one stays here until all hosts have confirmed. So it can be cut anywhere, and
//! run again.

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use lariat_base::lock::lock;
use lariat_base::name::HostName;
use lariat_wire::auth::proof::HostKeys;
use lariat_wire::protocol::key::KeyRotate;

use super::change::{Change, Done, HostOptions};
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{Failed, HostContext};
use crate::fleet::Fleet;
use crate::host_keys;
use crate::inventory::Inventory;
use crate::key::ControllerKey;
use crate::output;
use crate::rotation::{Enrolments, Rotation};
use crate::target::{self, Targets, fold};

#[derive(clap::Args)]
#[command(after_long_help = "\
Label, rules and jobs stay. Meanwhile both keys are tried; hosts that are not done yet keep the old one.

Examples:
  lariat key rotate all
  lariat --key ci@build key rotate @web")]
pub(super) struct Args {
    /// Which hosts: web1, web[01-20], 'web*', @tag, all
    #[arg(value_name = "TARGET", index = 1, long_help = target::HELP)]
    target: Targets,

    #[command(flatten)]
    on: HostOptions,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let home = context.home()?;
    home.require_fleet()?;
    let label = ControllerKey::load(&home, context.key.as_ref())?.label;
    // A mistake in writing begins nothing.
    let inventory = Inventory::load(&home)?;
    let hosts = args.target.select(&inventory).map_err(|error| error.during("key rotate"))?;
    let asked = hosts.into_iter().filter_map(|chosen| {
        let enrolment = inventory.enrolled(&chosen.host).ok()?.1.enrolment;
        Some((chosen.host, enrolment))
    });
    let next = Rotation::begin(&home, &home.lock()?, &label, asked.collect())?.next;
    let fleet = Fleet::with_keys(context, &args.on.connect, Arc::new(next.secret.clone()))?;
    let done = Confirmed::default();
    let rotating = Rotating { next, fleet, done: Arc::clone(&done) };
    let status = args.on.run(context, &args.target, Some(label.to_string()), || Ok(rotating));
    let done = std::mem::take(&mut *lock(&done));
    let left = Rotation::confirmed(&home, &home.lock()?, &label, &done)?;
    if left.is_empty() {
        output::note(&format!(
            "every host has the new key of {label}; the old one is worth nothing"
        ));
    } else {
        let hosts = fold(left.iter().map(HostName::as_str));
        output::note(&format!(
            "{hosts}: not yet, so the old key of {label} stays; run it again for them"
        ));
    }
    status
}

/// The hosts that have confirmed.
type Confirmed = Arc<Mutex<Enrolments>>;

struct Rotating {
    next: ControllerKey,
    /// Reaches hosts with the new key alone.
    fleet: Fleet,
    done: Confirmed,
}

impl Change for Rotating {
    const VERB: &'static str = "key rotate";

    async fn on(&self, host: &HostContext<'_>) -> Result<Done, Failed> {
        let name = &host.chosen.host;
        let enrolment = self.fleet.inventory.enrolled(name)?.1.enrolment;
        let verifier = HostKeys::derive(&self.next.secret, name, &enrolment).verifier().into();
        let begin = KeyRotate::Begin { id: self.next.id, verifier };
        let (session, _) = host_keys::change(&host.handle, None, &begin).await?;
        // The old key may still be needed: it goes only once the new one has logged in.
        let handle = self.fleet.host(host.chosen)?;
        let (proved, changed) = host_keys::change(&handle, None, &KeyRotate::Finish).await?;
        session.leave().await;
        proved.leave().await;
        lock(&self.done).insert((name.clone(), enrolment));
        Ok(changed.into())
    }

    fn told(&self, Done { label, changed, .. }: &Done) -> String {
        if *changed {
            format!("has the new key of {label}")
        } else {
            format!("has the new key of {label} already")
        }
    }
}
