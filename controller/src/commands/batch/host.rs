//! One host's way through a plan.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use lariat_base::name::HostName;
use lariat_client::run::Relay;
use serde::Serialize;

use super::plan;
use super::progress::{Begun, Done, Progress, Stand};
use crate::commands::pull::{self, PullJob};
use crate::commands::push::{self, PushJob};
use crate::commands::run::{Asked, Before, StepLog, Task};
use crate::error::CliError;
use crate::fanout::{self, End, Ended, Fanout, Limits, Screen};
use crate::fleet::Fleet;
use crate::output::json;
use crate::output::printer::Printer;
use crate::target::Chosen;
use crate::transfer::{Listing, Tally};

/// What a step does, ready for any host. A command is a [`Task`], and [`Asked`] once its hosts are known.
pub(super) enum Verb<C = Task> {
    Push(PushJob),
    Pull(PullJob),
    Run(C),
}

/// A step with the hosts that it is for, by number.
struct Step {
    /// What and where it is.
    what: String,
    /// It is done only where an earlier one changed something.
    when_changed: bool,
    chosen: Vec<Option<Chosen>>,
    verb: Verb<Asked>,
}

/// All steps.
pub(super) struct Steps {
    all: Vec<Step>,
    fleet: Arc<Fleet>,
    relay: Arc<Relay>,
    lines: Printer,
    notes: Printer,
    progress: Progress,
    /// What was done before.
    before: Done,
}

/// The outcome of a host.
pub(super) struct HostOutcome {
    ended: Ended,
    /// How many steps it has done.
    done: usize,
    seconds: f64,
}

impl Verb {
    /// Opens what it needs here for those hosts.
    pub(super) async fn ready(
        verb: plan::Verb,
        hosts: &[HostName],
        limits: Limits,
    ) -> Result<Self, CliError> {
        let at_once = limits.at_once(hosts.len());
        Ok(match verb {
            plan::Verb::Push(args) => Self::Push(push::of_plan(args, hosts, at_once)?),
            plan::Verb::Pull(args) => Self::Pull(pull::of_plan(args, at_once)?),
            plan::Verb::Run(args) => Self::Run(Task::of_plan(&args).await?),
        })
    }
}

impl Steps {
    pub(super) fn new(
        steps: Vec<(String, bool, Verb)>,
        fleet: &Arc<Fleet>,
        chosen: Vec<Vec<Option<Chosen>>>,
        fanout: &Fanout<'_>,
        progress: Progress,
        before: Done,
        json: bool,
    ) -> Self {
        let (screen, relay) = (&fanout.screen, &fanout.relay);
        // What is one object for each host has no room for lines.
        let lines = if json { &screen.stderr } else { &screen.stdout };
        let step = |((what, when_changed, verb), chosen): (_, Vec<Option<Chosen>>)| {
            let verb = match verb {
                Verb::Push(job) => Verb::Push(job),
                Verb::Pull(job) => Verb::Pull(job),
                Verb::Run(task) => {
                    let hosts = fanout.hosts().iter().zip(&chosen).map(|(host, chosen)| {
                        let none = || Chosen { host: host.clone(), user: None };
                        chosen.clone().unwrap_or_else(none)
                    });
                    let printers = (lines.clone(), screen.stderr.clone());
                    Verb::Run(Asked::of_plan(task, fleet, hosts.collect(), printers, relay))
                }
            };
            Step { what, when_changed, chosen, verb }
        };
        Self {
            all: steps.into_iter().zip(chosen).map(step).collect(),
            fleet: Arc::clone(fleet),
            relay: Arc::clone(relay),
            lines: lines.clone(),
            notes: screen.stderr.clone(),
            progress,
            before,
        }
    }

    /// Does what is left of them on one host, until one fails.
    pub(super) async fn on(&self, number: usize, host: &HostName) -> HostOutcome {
        let began = Instant::now();
        let Stand { done: before, mut begun } = self.before.get(host).cloned().unwrap_or_default();
        // What an earlier controller changed is not known: then nothing is left out for it.
        let mut changed = before > 0;
        let came =
            |ended, done| HostOutcome { ended, done, seconds: began.elapsed().as_secs_f64() };
        for (index, step) in self.all.iter().enumerate().skip(before) {
            if let Some(Some(chosen)) =
                step.chosen.get(number).filter(|_| changed || !step.when_changed)
            {
                let did = self.step(step, (index, number), chosen, begun.take()).await;
                let ended = did.ended;
                changed |= did.has_changed;
                if ended.end != End::Ok {
                    return came(ended.at(&step.what), index);
                }
            }
            if let Err(error) = self.progress.done(host, index + 1) {
                return came(Ended::failed(End::Errored, error.during(host)), index);
            }
        }
        came(Ended::ok(), self.all.len())
    }

    /// Does one step, which was `begun` before if that is said.
    async fn step(
        &self,
        step: &Step,
        (index, number): (usize, usize),
        chosen: &Chosen,
        begun: Option<Begun>,
    ) -> StepDone {
        let host = &chosen.host;
        let note = |text: &str| {
            self.notes.put(format!("{host}: {}: {text}\n", step.what).as_bytes());
        };
        let mut did = match &step.verb {
            Verb::Run(asked) => {
                let begins = |command, job, has_failed| {
                    let begun = Begun::now(command, Some(job), has_failed);
                    self.progress.begins(host, index, begun)
                };
                let before = begun.as_ref().and_then(before);
                let is_settled = Cell::new(true);
                let log = StepLog { begins: &begins, before, note: &note, is_settled };
                let ended = asked.step(number, &log).await;
                // Whether a command changed anything is not known.
                StepDone { ended, is_known: log.is_settled.get(), has_changed: false }
            }
            Verb::Push(job) => {
                let work = async |listing: &Listing| job.step(&self.fleet, chosen, listing).await;
                self.transfer(work, host, index, begun, &note).await
            }
            Verb::Pull(job) => {
                let work = async |listing: &Listing| {
                    job.step(&self.fleet, chosen, &job.all(), listing).await
                };
                self.transfer(work, host, index, begun, &note).await
            }
        };
        if did.ended.end != End::Ok && did.is_known {
            // It has failed: whoever resumes the plan has it done again, and need not look for it.
            if let Err(error) = self.progress.done(host, index) {
                did.ended = Ended::failed(End::Errored, error.during(host));
            }
        }
        did
    }

    /// Moves what a step moves.
    async fn transfer(
        &self,
        work: impl AsyncFnOnce(&Listing) -> Tally,
        host: &HostName,
        index: usize,
        begun: Option<Begun>,
        note: &impl Fn(&str),
    ) -> StepDone {
        if begun.is_some() {
            note("begun before, and not known to have come to its end: tried again");
        }
        if let Err(error) = self.progress.begins(host, index, Begun::now(0, None, false)) {
            let ended = Ended::failed(End::Errored, error.during(host));
            return StepDone { ended, is_known: false, has_changed: false };
        }
        let listing = Listing::Host(host.clone(), self.lines.clone());
        let mut signals = self.relay.signals();
        let (tally, is_known) = tokio::select! {
            tally = Box::pin(work(&listing)) => (tally, true),
            _ = signals.next() => {
                let error = CliError::new("interrupted").during(host);
                (Tally::only(End::Failed, error), false)
            }
        };
        let has_changed = tally.has_changed();
        StepDone { ended: tally.into_ended(&self.notes), is_known, has_changed }
    }
}

/// A command that another controller has begun.
fn before(begun: &Begun) -> Option<Before> {
    let job = begun.job.as_deref()?.parse().ok()?;
    let (command, has_failed) = (begun.command, begun.has_failed);
    Some(Before { command, job, ago: begun.ago(), has_failed })
}

/// The outcome of a step on a host.
struct StepDone {
    ended: Ended,
    /// The step has ended, in whatever way.
    is_known: bool,
    /// A transfer changed something.
    has_changed: bool,
}

/// The report of each host.
pub(super) struct Report {
    json: bool,
    steps: usize,
    stdout: Printer,
    /// What was done before.
    before: Done,
}

#[derive(Serialize)]
struct Object<'a> {
    host: &'a HostName,
    ok: bool,
    kind: &'static str,
    done: usize,
    steps: usize,
    seconds: f64,
    error: Option<String>,
}

impl Report {
    pub(super) fn new(json: bool, steps: usize, screen: &Screen, before: Done) -> Self {
        Self { json, steps, stdout: screen.stdout.clone(), before }
    }

    /// Tells how far a host came.
    fn put(
        &self,
        host: &HostName,
        done: usize,
        seconds: f64,
        end: End,
        error: Option<String>,
    ) -> Result<(), CliError> {
        if self.json {
            let (ok, kind, steps) = (end == End::Ok, end.kind(), self.steps);
            let object = Object { host, ok, kind, done, steps, seconds, error };
            self.stdout.put(&json::line(&object)?);
        }
        Ok(())
    }
}

impl fanout::Report for Report {
    type Outcome = HostOutcome;

    fn ended(&mut self, host: &HostName, came: HostOutcome) -> Ended {
        let HostOutcome { mut ended, done, seconds } = came;
        let end = ended.end;
        let why = ended.why().or_else(|| (end != End::Ok).then(|| end.error().line()));
        let told = self.put(host, done, seconds, end, why);
        ended.errors.extend(told.err());
        ended
    }

    fn nothing(&mut self, host: &HostName, error: &CliError) {
        let done = self.before.get(host).map_or(0, |stand| stand.done);
        // There is nothing in it that could not be written as JSON.
        let _ = self.put(host, done, 0.0, error.end(), Some(error.line()));
    }
}
