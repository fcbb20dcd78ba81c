//! `lariat key rotate`: replaces one's own key. Each host is told of the new one, which then proves itself by a login
//! and takes the old one's place; the old one stays here until all hosts have confirmed. So it can be cut anywhere, and
//! run again.

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use lariat_base::lock::lock;
use lariat_base::name::HostName;
use lariat_client::{AskError, Broken};
use lariat_wire::auth::proof::HostKeys;
use lariat_wire::protocol::failure::Cause;
use lariat_wire::protocol::key::{KeyProblem, KeyRotate};

use super::change::{Change, Done, HostOptions};
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{Failed, HostContext};
use crate::fleet::Fleet;
use crate::host_keys;
use crate::inventory::Inventory;
use crate::key::ControllerKey;
use crate::key_hosts::{Enrolment, Enrolments, KeyHosts};
use crate::output;
use crate::rotation::{Answers, Rotation, Settled};
use crate::target::{self, Targets, fold};

#[derive(clap::Args)]
#[command(after_long_help = "\
Label, rules and jobs stay. Meanwhile both keys are tried; hosts that are not done yet keep the old one. A host \
that denies both does not have the key.

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
    let chosen = args.target.select(&inventory).map_err(|error| error.during("key rotate"))?;
    let enrolled = chosen.into_iter().filter_map(|chosen| {
        let enrolment = inventory.enrolled(&chosen.host).ok()?.1.enrolment;
        Some((chosen.host, enrolment))
    });
    let next = Rotation::begin(&home, &home.lock()?, &label, &enrolled.collect())?.next;
    let fleet = Fleet::with_keys(context, &args.on.connect, Arc::new(next.secret.clone()))?;
    let (id, answers) = (next.id, Arc::new(Mutex::new(Answers::default())));
    let rotating = Rotating {
        next,
        fleet,
        known: KeyHosts::load(&home, &label),
        is_one: args.target.plain().is_some(),
        answers: Arc::clone(&answers),
    };
    let status = args.on.run(context, &args.target, Some(label.to_string()), || Ok(rotating));
    let answers = std::mem::take(&mut *lock(&answers));
    let has_denied = !answers.without.is_empty();
    match Rotation::settle(&home, &home.lock()?, &label, id, answers)? {
        Settled::Left(hosts) => {
            let hosts = fold(hosts.iter().map(HostName::as_str));
            output::note(&format!(
                "{hosts}: not yet, so the old key of {label} stays; run it again for them"
            ));
        }
        Settled::Over { is_sure: true } => {
            let that_has_it = if has_denied { " that has it" } else { "" };
            output::note(&format!(
                "every host{that_has_it} has the new key of {label}; the old one is worth nothing"
            ));
        }
        Settled::Over { is_sure: false } => output::note(&format!(
            "every host that is known to have {label} has the new key; the old one is tried where others deny it"
        )),
        Settled::GivenUp => output::note(&format!(
            "the new key of {label} was given up; run it again, which makes another"
        )),
        Settled::Nowhere => {}
    }
    status
}

struct Rotating {
    next: ControllerKey,
    /// Reaches hosts with the new key alone.
    fleet: Fleet,
    /// The hosts that have taken the key before.
    known: KeyHosts,
    /// Only one host was named, so that it is wrong if it does not have the key.
    is_one: bool,
    answers: Arc<Mutex<Answers>>,
}

impl Rotating {
    /// Takes down a host's answer.
    fn note(&self, host: &Enrolment, of: impl FnOnce(&mut Answers) -> &mut Enrolments) {
        of(&mut lock(&self.answers)).insert(host.clone());
    }

    /// The host does not let the new key in beside the old one.
    fn refused(&self, host: &Enrolment, error: AskError) -> Result<Done, Failed> {
        match &error {
            AskError::Connect(denied) if denied.is_denial() => {
                self.note(host, |answers| &mut answers.without);
                if self.is_one {
                    return Err(error.into());
                }
                let label =
                    if self.known.has(host) { self.next.label.to_string() } else { String::new() };
                Ok(Done { label, id: None, changed: false })
            }
            AskError::Broken { place, error: Broken::Failed(failure), .. }
                if failure.cause == Cause::Key(KeyProblem::Revoked) =>
            {
                self.note(host, |answers| &mut answers.revoked);
                let message = format!(
                    "{place}: the new key of {}, which waited for this, was revoked there",
                    self.next.label
                );
                Err(CliError::new(message).next("run it again, with another").into())
            }
            _ => Err(error.into()),
        }
    }
}

impl Change for Rotating {
    const VERB: &'static str = "key rotate";

    async fn on(&self, host: &HostContext<'_>) -> Result<Done, Failed> {
        let name = &host.chosen.host;
        let enrolment = self.fleet.inventory.enrolled(name)?.1.enrolment;
        let own = (name.clone(), enrolment);
        let verifier = HostKeys::derive(&self.next.secret, name, &enrolment).verifier().into();
        let begin = KeyRotate::Begin { id: self.next.id, verifier };
        let session = match host_keys::change(&host.handle, None, &begin).await {
            Ok((session, _)) => session,
            Err(error) => return self.refused(&own, error),
        };
        // The old key may still be needed: it goes only once the new one has logged in.
        let handle = self.fleet.host(host.chosen)?;
        let (proved, changed) = host_keys::change(&handle, None, &KeyRotate::Finish).await?;
        session.leave().await;
        proved.leave().await;
        self.note(&own, |answers| &mut answers.done);
        Ok(changed.into())
    }

    fn told(&self, Done { label, id, changed }: &Done) -> String {
        let own = &self.next.label;
        match (id, label.as_str(), changed) {
            (None, "", _) => format!("denies both keys of {own}, so it does not have it"),
            (None, ..) => format!(
                "denies both keys of {own}, which it took before: it was revoked there, or may not be used from here"
            ),
            (Some(_), _, true) => format!("has the new key of {label}"),
            (Some(_), _, false) => format!("has the new key of {label} already"),
        }
    }

    fn unknown(&self) -> Option<CliError> {
        Some(CliError::new(format!("no host has the key {}", self.next.label)))
    }
}
