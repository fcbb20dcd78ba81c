//! Runs a plan's steps on one host.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lariat_base::escape::shortened;
use lariat_base::name::HostName;
use serde::Serialize;

use super::plan;
use super::progress::{Begun, Done, Earlier, Progress, Stand};
use crate::can::Question;
use crate::commands::pull::{self, PullJob};
use crate::commands::push::{self, PushJob};
use crate::commands::run::{self, Before, RunWork, StepLog};
use crate::error::CliError;
use crate::fanout::{End, Ended, Failed, HostContext, HostWork, Limits, Outlet};
use crate::fleet::Fleet;
use crate::output::{json, style};
use crate::progress::Meter;
use crate::target::Chosen;
use crate::transfer::{TransferJob, TransferWork};

/// Most characters of the reason for which a step is not complete.
const LONGEST_REASON: usize = 200;

/// Said where an earlier attempt is recorded, and not its end.
const UNKNOWN: &str = "begun before, and not known to have come to its end: tried again";

/// What a step does on each host.
pub(super) enum Verb {
    Push(TransferWork<PushJob>),
    Pull(TransferWork<PullJob>),
    Run(RunWork),
}

/// A step of a plan.
pub(super) struct Step {
    /// A description of the step.
    pub(super) what: String,
    /// The step is skipped unless an earlier one changed something.
    pub(super) when_changed: bool,
    /// How long the connection may stay broken, if the step overrides it.
    pub(super) reconnect: Option<Duration>,
    /// The hosts that the step applies to, by number.
    pub(super) chosen: Vec<Option<Chosen>>,
    pub(super) verb: Verb,
}

/// A plan's steps, as work for each of its hosts.
pub(super) struct Steps {
    pub(super) all: Vec<Step>,
    pub(super) fleet: Arc<Fleet>,
    pub(super) progress: Progress,
    /// What was done before a `--resume`.
    pub(super) before: Done,
    pub(super) json: bool,
}

/// The outcome of a host.
pub(super) struct HostOutcome {
    ended: Ended,
    /// How many steps are done.
    done: usize,
    seconds: f64,
}

impl Verb {
    /// Opens local files for those hosts.
    pub(super) async fn ready(
        verb: plan::Verb,
        hosts: &[HostName],
        limits: Limits,
    ) -> Result<Self, CliError> {
        let at_once = limits.at_once(hosts.len());
        Ok(match verb {
            plan::Verb::Push(args) => Self::Push(push::of_plan(args, hosts, at_once)?),
            plan::Verb::Pull(args) => Self::Pull(pull::of_plan(args, at_once)?),
            plan::Verb::Run(args) => Self::Run(run::of_plan(&args).await?),
        })
    }
}

impl Step {
    /// What a dry run asks the host of this number, if the step is for it.
    pub(super) fn questions(&self, number: usize) -> Result<Vec<Question>, CliError> {
        let Some(Some(chosen)) = self.chosen.get(number) else { return Ok(Vec::new()) };
        let asked = match &self.verb {
            Verb::Push(work) => work.asked(chosen)?,
            Verb::Pull(work) => work.asked(chosen)?,
            Verb::Run(work) => work.asked(chosen)?,
        };
        let question = |request| Question { name: Some(self.what.clone()), request: Some(request) };
        Ok(asked.into_iter().map(question).collect())
    }
}

impl HostWork for Steps {
    type Outcome = HostOutcome;
    type Total = ();

    /// Runs the remaining steps on one host, until one fails.
    async fn on(&self, context: HostContext<'_>) -> Result<HostOutcome, Failed> {
        let began = Instant::now();
        let HostContext { number, chosen: Chosen { host, .. }, outlet, meter, .. } = context;
        // With one object per host, other output must not mix with stdout.
        let outlet = if self.json { &outlet.on_stderr() } else { outlet };
        let Stand { done: before, mut earlier } =
            self.before.get(host).cloned().unwrap_or_default();
        // Whether an earlier controller changed something is not known: no step is skipped.
        let mut changed = before > 0;
        let came =
            |ended, done| Ok(HostOutcome { ended, done, seconds: began.elapsed().as_secs_f64() });
        for (index, step) in self.all.iter().enumerate().skip(before) {
            if let Some(Some(chosen)) =
                step.chosen.get(number).filter(|_| changed || !step.when_changed)
            {
                meter.part(index + 1, self.all.len());
                let context = (number, chosen, outlet, meter);
                let did = self.step((index, step), context, earlier.take()).await;
                let ended = did.ended;
                changed |= did.has_changed;
                if ended.end != End::Ok {
                    let (number, count) = (index + 1, self.all.len());
                    let step = format!("step {number} of {count} ({})", step.what);
                    return came(ended.at(&step), index);
                }
                let notes = ended.notes.iter().filter(|_| !style::is_quiet());
                notes.for_each(|note| outlet.tell(note));
            }
            if let Err(error) = self.progress.done(host, index + 1) {
                return came(Ended::failed(End::Errored, error.during(host)), index);
            }
        }
        came(Ended::ok(), self.all.len())
    }

    fn report(
        &self,
        (): &mut (),
        host: &HostName,
        outcome: Result<HostOutcome, Failed>,
    ) -> (Vec<u8>, Ended) {
        let HostOutcome { mut ended, done, seconds } = match outcome {
            Ok(outcome) => outcome,
            Err(failed) => return self.failed(self.json, host, failed.into()),
        };
        let end = ended.end;
        let why = ended.why().or_else(|| (end != End::Ok).then(|| end.error().line()));
        let line =
            if self.json { self.object(host, done, seconds, end, why) } else { Ok(Vec::new()) };
        let line = line.unwrap_or_else(|error| {
            ended.errors.push(error);
            Vec::new()
        });
        (line, ended)
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        let done = self.before.get(host).map_or(0, |stand| stand.done);
        self.object(host, done, 0.0, error.end(), Some(error.line()))
    }
}

impl Steps {
    /// Writes a host's result as an object.
    fn object(
        &self,
        host: &HostName,
        done: usize,
        seconds: f64,
        end: End,
        error: Option<String>,
    ) -> Result<Vec<u8>, CliError> {
        json::result(host, end, error, Counts { done, steps: self.all.len(), seconds })
    }

    /// Runs one step, or resumes it if an `earlier` attempt may still be in progress.
    async fn step(
        &self,
        (index, step): (usize, &Step),
        (number, chosen, outlet, meter): (usize, &Chosen, &Outlet, &Meter),
        earlier: Option<Earlier>,
    ) -> StepDone {
        let host = &chosen.host;
        let handle = match self.fleet.host(chosen) {
            Ok(handle) => handle.reconnecting(step.reconnect),
            Err(error) => return StepDone::failed(error),
        };
        let context = HostContext { number, chosen, handle, outlet, meter };
        let note = |text: &str| outlet.tell(&format!("{host}: {}: {text}", step.what));
        let begun = match earlier {
            Some(Earlier::Begun(begun)) => Some(begun),
            Some(Earlier::Failed(why)) => {
                note(&format!("begun before, and not completed ({why}): tried again"));
                None
            }
            None => None,
        };
        let mut did = match &step.verb {
            Verb::Run(work) => {
                let begins = |command, job, has_failed| {
                    let begun = Begun::now(command, Some(job), has_failed);
                    self.progress.begins(host, index, begun)
                };
                let before = begun.as_ref().and_then(before);
                if begun.is_some() && before.is_none() {
                    note(UNKNOWN);
                }
                let is_settled = Cell::new(true);
                let log = StepLog { begins: &begins, before, note: &note, is_settled };
                let ended = work.step(context, &log).await;
                // A command has no report of changes.
                StepDone { ended, is_known: log.is_settled.get(), has_changed: false }
            }
            Verb::Push(work) => self.transfer(work, context, index, begun, &note).await,
            Verb::Pull(work) => self.transfer(work, context, index, begun, &note).await,
        };
        if did.ended.end != End::Ok && did.is_known {
            // A resumed plan runs it again, says so, and need not look for the job.
            let why = did.ended.why().unwrap_or_else(|| did.ended.end.error().line());
            let why = shortened(&why, LONGEST_REASON);
            if let Err(error) = self.progress.failed(host, index, why) {
                did.ended = Ended::failed(End::Errored, error.during(host));
            }
        }
        did
    }

    /// Runs a transfer step.
    async fn transfer(
        &self,
        work: &TransferWork<impl TransferJob>,
        context: HostContext<'_>,
        index: usize,
        begun: Option<Begun>,
        note: &impl Fn(&str),
    ) -> StepDone {
        let host = &context.chosen.host;
        if begun.is_some() {
            note(UNKNOWN);
        }
        if let Err(error) = self.progress.begins(host, index, Begun::now(0, None, false)) {
            return StepDone::failed(error.during(host));
        }
        match Box::pin(work.on(context)).await {
            Ok(tally) => {
                let (is_known, has_changed) = (!tally.was_interrupted(), tally.has_changed());
                StepDone { ended: tally.into_ended(), is_known, has_changed }
            }
            Err(failed) => StepDone::failed(failed.error),
        }
    }
}

/// The job of a command that another controller started.
fn before(begun: &Begun) -> Option<Before> {
    let job = begun.job.as_deref()?.parse().ok()?;
    let (command, has_failed) = (begun.command, begun.has_failed);
    Some(Before { command, job, ago: begun.ago(), has_failed })
}

/// The result of a step on a host.
struct StepDone {
    ended: Ended,
    /// How the step ended is known.
    is_known: bool,
    /// The step is a transfer that changed something.
    has_changed: bool,
}

impl StepDone {
    fn failed(error: CliError) -> Self {
        let ended = Ended::failed(End::Errored, error);
        Self { ended, is_known: false, has_changed: false }
    }
}

/// The fields that the verb adds to a host's object.
#[derive(Serialize)]
pub(super) struct Counts {
    pub(super) done: usize,
    pub(super) steps: usize,
    pub(super) seconds: f64,
}
