//! One host's way through a plan.

use std::sync::Arc;
use std::time::Instant;

use lariat_common::name::HostName;
use serde::Serialize;

use super::plan;
use super::progress::{Done, Progress};
use crate::commands::pull::{self, Haul};
use crate::commands::push::{self, Load};
use crate::commands::run::{Asked, Task};
use crate::error::CliError;
use crate::fanout::{self, End, Ended, Fanout, Screen};
use crate::output::json;
use crate::output::printer::Printer;
use crate::reach::Fleet;
use crate::run::Relay;
use crate::target::Chosen;
use crate::transfer::{Listing, Tally};

/// A step, ready to be done on any host.
pub(super) enum Verb {
    Push(Load),
    Pull(Haul),
    Run(Task),
}

/// A step with the hosts that it is for, by number.
struct Step {
    /// What and where it is.
    what: String,
    chosen: Vec<Option<Chosen>>,
    work: Ready,
}

enum Ready {
    Push(Load),
    Pull(Haul),
    Run(Asked),
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

/// What came of a host.
pub(super) struct Came {
    ended: Ended,
    /// How many steps it has done.
    done: usize,
    seconds: f64,
}

impl Verb {
    /// Opens what it needs here for those hosts.
    pub(super) async fn ready(verb: plan::Verb, hosts: &[HostName]) -> Result<Self, CliError> {
        Ok(match verb {
            plan::Verb::Push(args) => Self::Push(push::of_plan(args, hosts)?),
            plan::Verb::Pull(args) => Self::Pull(pull::of_plan(args)?),
            plan::Verb::Run(args) => Self::Run(Task::of_plan(&args).await?),
        })
    }
}

impl Steps {
    pub(super) fn new(
        steps: Vec<(String, Verb)>,
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
        let step = |((what, verb), chosen): ((String, Verb), Vec<Option<Chosen>>)| {
            let work = match verb {
                Verb::Push(load) => Ready::Push(load),
                Verb::Pull(haul) => Ready::Pull(haul),
                Verb::Run(task) => {
                    let hosts = fanout.hosts().iter().zip(&chosen).map(|(host, chosen)| {
                        let none = || Chosen { host: host.clone(), user: None };
                        chosen.clone().unwrap_or_else(none)
                    });
                    let printers = (lines.clone(), screen.stderr.clone());
                    Ready::Run(Asked::of_plan(task, fleet, hosts.collect(), printers, relay))
                }
            };
            Step { what, chosen, work }
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
    pub(super) async fn on(&self, number: usize, host: &HostName) -> Came {
        let began = Instant::now();
        let before = self.before.get(host).copied().unwrap_or_default();
        let came = |ended, done| Came { ended, done, seconds: began.elapsed().as_secs_f64() };
        for (index, step) in self.all.iter().enumerate().skip(before) {
            if let Some(Some(chosen)) = step.chosen.get(number) {
                let ended = self.step(step, number, chosen).await;
                if ended.end != End::Ok {
                    return came(ended.at(&step.what), index);
                }
            }
            if let Err(error) = self.progress.done(host, index + 1) {
                return came(Ended::failed(End::Failed, error.during(host)), index);
            }
        }
        came(Ended::ok(), self.all.len())
    }

    async fn step(&self, step: &Step, number: usize, chosen: &Chosen) -> Ended {
        let work = match &step.work {
            Ready::Run(asked) => return asked.step(number).await,
            Ready::Push(load) => Transfer::Push(load),
            Ready::Pull(haul) => Transfer::Pull(haul),
        };
        let listing = Listing::Host(chosen.host.clone(), self.lines.clone());
        let mut signals = self.relay.signals();
        let transfer = async {
            match work {
                Transfer::Push(load) => load.step(&self.fleet, chosen, &listing).await,
                Transfer::Pull(haul) => haul.step(&self.fleet, chosen, &haul.all(), &listing).await,
            }
        };
        let tally = tokio::select! {
            tally = Box::pin(transfer) => tally,
            _ = signals.next() => {
                Tally::only(End::Failed, CliError::new("interrupted").during(&chosen.host))
            }
        };
        tally.into_ended(&self.notes)
    }
}

enum Transfer<'a> {
    Push(&'a Load),
    Pull(&'a Haul),
}

/// What is told of each.
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
        error: Option<String>,
    ) -> Result<(), CliError> {
        if self.json {
            let (ok, steps) = (error.is_none(), self.steps);
            self.stdout.put(&json::line(&Object { host, ok, done, steps, seconds, error })?);
        }
        Ok(())
    }
}

impl fanout::Report for Report {
    type Came = Came;

    fn ended(&mut self, host: &HostName, came: Came) -> Ended {
        let Came { mut ended, done, seconds } = came;
        let end = ended.end;
        let why = ended.why().or_else(|| (end != End::Ok).then(|| end.error().line()));
        let told = self.put(host, done, seconds, why);
        ended.errors.extend(told.err());
        ended
    }

    fn nothing(&mut self, host: &HostName, error: &CliError) {
        let done = self.before.get(host).copied().unwrap_or_default();
        // There is nothing in it that could not be written as JSON.
        let _ = self.put(host, done, 0.0, Some(error.line()));
    }
}
