//! What the changes of keys on hosts have in common: how a host's answer is told.

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lariat_base::escape::escape;
use lariat_base::lock::lock;
use lariat_base::name::{HostName, KeyId};
use lariat_wire::protocol::key::KeyChanged;
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{
    End, Ended, Failed, FanoutOptions, HostContext, HostWork, Recorded, Screen, Verb, within,
};
use crate::fleet::{self, ReachOptions};
use crate::known_keys::KnownKeys;
use crate::output::json;
use crate::target::Targets;

// The options of a verb that changes keys on hosts. Flattened last, because later options would be under its heading.
#[derive(clap::Args)]
pub(super) struct HostOptions {
    /// Print one JSON object per host
    ///
    /// Its fields: host, ok, kind, label, id, changed, error.
    #[arg(long)]
    pub(super) json: bool,

    /// Time limit per host, such as 30s, 5m or 2h
    ///
    /// It includes the time for connecting. DUR is a number with a unit, ms, s, m, h or d; without a unit it is
    /// seconds.
    #[arg(long, value_name = "DUR", value_parser = fleet::parse_limit)]
    pub(super) timeout: Option<Duration>,

    #[command(flatten)]
    pub(super) connect: ReachOptions,

    #[command(flatten)]
    pub(super) fanout: FanoutOptions,
}

/// What a host has done.
pub(super) struct Done {
    /// The key's label there; empty if the host does not have it.
    pub(super) label: String,
    /// Its id; `None` if the host does not have it.
    pub(super) id: Option<KeyId>,
    /// Whether the keyring is another than before, or would be.
    pub(super) changed: bool,
}

impl From<KeyChanged> for Done {
    fn from(KeyChanged { label, ids, changed, .. }: KeyChanged) -> Self {
        Self { label, id: ids.first().copied(), changed }
    }
}

/// What becomes of a key's rules on a host.
pub(super) enum NewRules {
    /// They stay as they are.
    Same,
    /// The key may do this, in words.
    Are(String),
    /// The key is gone.
    Gone,
}

/// A change of keys on any host.
pub(super) trait Change: Send + Sync + 'static {
    /// What it is called: `key add`.
    const VERB: &'static str;

    /// Does it on a host.
    async fn on(&self, host: &HostContext<'_>) -> Result<Done, Failed>;

    /// Says what was done: `added bob@laptop`.
    fn told(&self, done: &Done) -> String;

    /// What becomes of the key's rules.
    fn rules(&self) -> NewRules {
        NewRules::Same
    }

    /// Why it is wrong that none of several hosts has the key.
    fn unknown(&self) -> Option<CliError> {
        None
    }
}

impl HostOptions {
    /// Makes the change on every host. `recorded` is what the ledger says of it; a dry run is not recorded.
    pub(super) fn run<C: Change>(
        &self,
        context: &Context,
        target: &Targets,
        recorded: Option<String>,
        prepare: impl FnOnce() -> Result<C, CliError>,
    ) -> Result<ExitCode, CliError> {
        let Self { json, timeout, connect, fanout } = self;
        let recorded = recorded.map(|what| Recorded::new(C::VERB, what));
        let verb = Verb { context, connect, fanout, targets: vec![target], json: *json, recorded };
        let seen = Seen::default();
        let also = Arc::clone(&seen);
        let status = verb.run(async |hosts| {
            hosts.refuse_users(C::VERB, "a keyring")?;
            let change = prepare()?;
            Ok(Changing { change, json: *json, limit: *timeout, seen: also })
        });
        let seen = std::mem::take(&mut *lock(&seen));
        if !seen.is_empty() {
            let home = context.home()?;
            let held = home.lock()?;
            let mut known = KnownKeys::load(&home)?;
            for (host, label, rules) in seen {
                known.set(&host, &label, rules);
            }
            known.save(&home, &held)?;
        }
        status
    }

    /// Reports that nothing begins, because the target names no hosts of the fleet.
    pub(super) fn not_begun(&self, target: &Targets, error: CliError) -> CliError {
        json::not_begun(self.json, target, error, Added::default())
    }
}

/// By host and label what keys may do from now on.
type Seen = Arc<Mutex<Vec<(HostName, String, Option<String>)>>>;

struct Changing<C> {
    change: C,
    json: bool,
    limit: Option<Duration>,
    seen: Seen,
}

/// What hosts have told.
#[derive(Default)]
struct Total {
    /// How many have the key.
    known: usize,
    /// How many have answered.
    answers: usize,
    changed: usize,
}

/// The fields that the verb adds to a host's object.
#[derive(Default, Serialize)]
struct Added<'a> {
    label: Option<&'a str>,
    id: Option<String>,
    changed: bool,
}

impl<C: Change> HostWork for Changing<C> {
    type Outcome = Done;
    type Total = Total;

    async fn on(&self, host: HostContext<'_>) -> Result<Done, Failed> {
        within(self.limit, &host.handle, self.change.on(&host)).await
    }

    fn report(
        &self,
        total: &mut Total,
        host: &HostName,
        outcome: Result<Done, Failed>,
    ) -> (Vec<u8>, Ended) {
        let done = match outcome {
            Ok(done) => done,
            Err(failed) => {
                return self.failed(self.json, host, CliError::from(failed).during(C::VERB));
            }
        };
        let rules = match self.change.rules() {
            NewRules::Same => None,
            NewRules::Are(rules) => Some(Some(rules)),
            NewRules::Gone => Some(None),
        };
        if let Some(rules) = rules.filter(|_| !done.label.is_empty()) {
            lock(&self.seen).push((host.clone(), done.label.clone(), rules));
        }
        total.answers += 1;
        total.known += usize::from(done.id.is_some());
        total.changed += usize::from(done.changed);
        let line = if self.json {
            let label = done.id.map(|_| done.label.as_str());
            let id = done.id.map(|id| id.to_string());
            json::result(host, End::Ok, None, Added { label, id, changed: done.changed })
        } else {
            let told = escape(self.change.told(&done).as_bytes());
            Ok(format!("{host}: {told}\n").into_bytes())
        };
        match line {
            Ok(line) => (line, Ended::ok()),
            Err(error) => (Vec::new(), Ended::failed(End::Errored, error)),
        }
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        json::failure(host, error, Added::default())
    }

    fn over(&self, total: &mut Total, _: &Screen) -> Option<CliError> {
        let is_unknown = total.answers > 0 && total.known == 0;
        self.change.unknown().filter(|_| is_unknown).map(|error| error.during(C::VERB))
    }

    fn sum(&self, total: &Total, _: Duration) -> Option<String> {
        Some(format!("{} changed", total.changed))
    }
}
