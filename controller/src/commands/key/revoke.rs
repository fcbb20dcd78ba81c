//! `lariat key revoke`: takes a key from hosts. What a host can't be told now is written down first, and done when it is
//! reached again.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use lariat_base::clock::milliseconds;
use lariat_base::lock::lock;
use lariat_base::name::{HostName, KeyId, KeyLabel};
use lariat_wire::protocol::key::KeyRevoke;

use super::change::{Change, Done, HostOptions, NewRules};
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{Failed, HostContext};
use crate::home::{Home, HomeLock};
use crate::host_keys;
use crate::inventory::Inventory;
use crate::key_first;
use crate::output;
use crate::park;
use crate::revocations::{IdText, PendingHost, Revocation, Revocations};
use crate::target::{self, Targets, fold};

#[derive(clap::Args)]
#[command(after_long_help = "\
A host that can't be reached keeps the key. The revocation is recorded here, and done at the next contact, \
whatever the verb; lariat fleet export passes it on to others.

Every host keeps at least one key that may change keys, does not expire, and has logged in there.

Examples:
  lariat key revoke bob@laptop all
  lariat key revoke 0f3c9a... all --keep-jobs")]
pub(super) struct Args {
    /// The key's label, or its current or a former id
    #[arg(value_name = "LABEL|ID", index = 1)]
    name: KeyLabel,

    /// Which hosts: web1, web[01-20], 'web*', @tag, all
    #[arg(value_name = "TARGET", index = 2, long_help = target::HELP)]
    target: Targets,

    /// Keep its jobs running
    #[arg(long)]
    keep_jobs: bool,

    /// Revoke it although it is the key in use
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    on: HostOptions,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    key_first::check("key revoke", args.name.as_str(), &args.target, context)?;
    let home = context.home()?;
    let inventory = Inventory::load(&home)?;
    let pending = PendingHost::all(&args.target, &inventory);
    let pending = pending.map_err(|error| args.on.not_begun(&args.target, error))?;
    let name = args.name.as_str();
    let revocation = Revocation {
        name: name.to_owned(),
        ids: name.parse().ok().into_iter().map(IdText).collect(),
        at: milliseconds(SystemTime::now()) / 1000,
        keep_jobs: args.keep_jobs,
        force: args.force,
        pending,
        done: BTreeSet::new(),
        back: BTreeSet::new(),
    };
    let answers = Answers::default();
    let mut revoking = Revoking {
        key: name.to_owned(),
        keep_jobs: args.keep_jobs,
        force: args.force,
        missing: match args.target.plain() {
            Some(_) => Missing::Mistake,
            None => Missing::MistakeIfNowhere,
        },
        answers: Arc::clone(&answers),
    };
    let status = args.on.run(context, &args.target, Some(name.to_owned()), || {
        // Written down before any host is asked, so that an interruption loses nothing.
        change(&home, |revocations, _| {
            if revocations.knows(name) {
                revoking.missing = Missing::Done;
            }
            revocations.begin(revocation);
            Ok(())
        })?;
        Ok(revoking)
    });
    let answers = std::mem::take(&mut *lock(&answers));
    let mut left = Vec::new();
    change(&home, |revocations, held| {
        for (host, ids) in &answers {
            park::revoked(&home, held, host, ids)?;
            let enrolment = inventory.enrolled(host).map(|(_, enrolled)| enrolled.enrolment);
            if let Ok(enrolment) = enrolment {
                revocations.done(name, &PendingHost { host: host.clone(), enrolment }, ids);
            }
        }
        revocations.forget_unknown(name);
        let own = revocations.revoked.iter().filter(|revocation| revocation.name == name);
        left.extend(own.flat_map(|revocation| &revocation.pending).map(|host| host.host.clone()));
        Ok(())
    })?;
    if !left.is_empty() {
        let hosts = fold(left.iter().map(HostName::as_str));
        output::note(&format!("{hosts}: still to be done; it will be at the next contact"));
    }
    status
}

fn change(
    home: &Home,
    edit: impl FnOnce(&mut Revocations, &HomeLock) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let held = home.lock()?;
    let mut revocations = Revocations::load(home)?;
    edit(&mut revocations, &held)?;
    revocations.save(home, &held)
}

/// What hosts have answered: the ids that the key has there.
type Answers = Arc<Mutex<Vec<(HostName, Vec<KeyId>)>>>;

/// What it means that a host has no such key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// The name is a mistake: only one host was named.
    Mistake,
    /// The name is a mistake if no host has the key.
    MistakeIfNowhere,
    /// It is done already: the key was revoked from here before.
    Done,
}

struct Revoking {
    key: String,
    keep_jobs: bool,
    force: bool,
    missing: Missing,
    answers: Answers,
}

impl Change for Revoking {
    const VERB: &'static str = "key revoke";

    async fn on(&self, host: &HostContext<'_>) -> Result<Done, Failed> {
        let (handle, name) = (&host.handle, &host.chosen.host);
        let answered = |ids: &[KeyId]| lock(&self.answers).push((name.clone(), ids.to_vec()));
        let answer = host_keys::list(handle).await;
        if answer.as_ref().is_err_and(host_keys::is_refusal) {
            // It is an answer: what this key may not do is not done later with another.
            answered(&[]);
        }
        let keys = answer?;
        // By its id, so that it can be asked twice: its label is unknown once it is gone.
        let id = keys.find(&self.key).map(|key| key.id).or_else(|| self.key.parse().ok());
        let Some(id) = id else {
            answered(&[]);
            let unknown = keys.unknown(&self.key, handle);
            keys.session.leave().await;
            if self.missing == Missing::Mistake {
                return Err(unknown.into());
            }
            return Ok(Done { label: String::new(), id: None, changed: false });
        };
        let (key, keep_jobs, force) = (id.to_string(), self.keep_jobs, self.force);
        let request = KeyRevoke { key, keep_jobs, force };
        let changed = host_keys::change(handle, Some(keys.session), &request).await;
        if changed.as_ref().is_err_and(host_keys::is_refusal) {
            answered(&[]);
        }
        let (session, changed) = changed?;
        session.leave().await;
        answered(&changed.ids);
        Ok(Done { label: changed.label, id: Some(id), changed: changed.changed })
    }

    fn rules(&self) -> NewRules {
        NewRules::Gone
    }

    fn told(&self, done: &Done) -> String {
        match done {
            Done { id: None, .. } => format!("has no key {}", self.key),
            Done { label, .. } if label.is_empty() => {
                format!("has no key {}, and takes none from now on", self.key)
            }
            Done { label, changed: false, .. } => format!("{label} is revoked already"),
            Done { label, .. } => format!("revoked {label}"),
        }
    }

    fn unknown(&self) -> Option<CliError> {
        let error = CliError::new(format!("no host has a key {}", self.key));
        (self.missing != Missing::Done).then(|| error.hint("lariat key list all"))
    }
}
