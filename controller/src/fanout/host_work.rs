//! One host is many hosts of one: a verb's work on a host, and the two ways to present the outcome.
//! One host's results go to stdout as they are and its errors to stderr; those of many go through the fan-out.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use lariat_base::name::HostName;
use lariat_client::HostHandle;

use super::{Ended, Failed, Fanout, FanoutOptions, Plan, Report};
use crate::context::Context;
use crate::error::CliError;
use crate::fleet::{Fleet, ReachOptions};
use crate::output::printer::Printer;
use crate::runtime::block_on;
use crate::target::{Chosen, Targets};
use crate::{output, status};

/// A verb's work on any of its hosts.
pub(crate) trait HostWork: Send + Sync + 'static {
    /// The outcome of one host.
    type Outcome: Send + 'static;

    /// The outcomes of all hosts together.
    type Total: Default;

    /// Does the work on the host of this number.
    async fn on(&self, number: usize, host: &HostHandle) -> Result<Self::Outcome, Failed>;

    /// Adds a host's outcome to the total. Returns what goes to stdout, and how the host counts.
    fn report(
        &self,
        total: &mut Self::Total,
        host: &HostName,
        outcome: Result<Self::Outcome, Failed>,
    ) -> (Vec<u8>, Ended);

    /// The object of a host that was not begun or was left, as `error` says; with `--json` only.
    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError>;

    /// A note on stderr about the only host.
    fn note(&self, _: &Self::Total, _: &HostName) -> Option<String> {
        None
    }

    /// What goes to stdout when all of many hosts have ended, and what is wrong although no host failed.
    fn over(&self, _: &mut Self::Total) -> (Vec<u8>, Option<CliError>) {
        (Vec::new(), None)
    }

    /// What was done on many hosts in all, for the summary.
    fn sum(&self, _: &Self::Total) -> Option<String> {
        None
    }
}

/// A verb, with the hosts that it works on.
pub(crate) struct Verb<'a> {
    pub(crate) context: &'a Context,
    pub(crate) connect: &'a ReachOptions,
    pub(crate) fanout: &'a FanoutOptions,
    pub(crate) target: &'a Targets,
    pub(crate) json: bool,
    /// Its name and what it does, for the ledger; a verb that only looks is not recorded.
    pub(crate) recorded: Option<(&'static str, String)>,
}

impl Verb<'_> {
    /// Does the work that `prepare` makes for these hosts on each of them.
    pub(crate) fn run<W: HostWork>(
        self,
        prepare: impl FnOnce(&[Chosen]) -> Result<W, CliError>,
    ) -> Result<ExitCode, CliError> {
        match self.target.plain() {
            Some(chosen) => self.one(&chosen, &prepare(std::slice::from_ref(&chosen))?),
            None => self.many(prepare),
        }
    }

    fn one<W: HostWork>(self, chosen: &Chosen, work: &W) -> Result<ExitCode, CliError> {
        let (host, mut total) = (&chosen.host, W::Total::default());
        let outcome = match self.fanout.one(self.connect, [self.target], chosen, self.context) {
            Ok(None) => return Ok(ExitCode::SUCCESS),
            Ok(Some(handle)) => block_on(async { Ok(work.on(0, &handle).await) })?,
            Err(error) => Err(error.into()),
        };
        let (result, ended) = work.report(&mut total, host, outcome);
        output::bytes(&result)?;
        if !self.json {
            for error in &ended.errors {
                error.report(self.context.verbose);
            }
        }
        if let Some(note) = work.note(&total, host).filter(|_| !self.json) {
            output::note(&note);
        }
        Ok(ExitCode::from(status::of_one(ended.end)))
    }

    fn many<W: HostWork>(
        self,
        prepare: impl FnOnce(&[Chosen]) -> Result<W, CliError>,
    ) -> Result<ExitCode, CliError> {
        let Self { context, connect, fanout, target, json, recorded } = self;
        let fleet = Fleet::load(context, connect)?;
        let hosts = fanout.hosts(target, &fleet, context)?;
        if hosts.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        let work = Arc::new(prepare(&hosts)?);
        let names: Vec<HostName> = hosts.iter().map(|chosen| chosen.host.clone()).collect();
        let limits = fanout.limits();
        block_on(async {
            let fanout = match recorded {
                Some((verb, what)) => {
                    let plan = Plan::now(verb, what, target.to_string(), names);
                    Fanout::new(context, plan, limits, json)?
                }
                None => Fanout::look(context, names, limits, json)?,
            };
            let stdout = fanout.screen.stdout.clone();
            let report = Many { work: Arc::clone(&work), total: W::Total::default(), stdout, json };
            let question = async move |number, host: &HostHandle| work.on(number, host).await;
            fanout.ask(Arc::new(fleet), hosts, question, report).await
        })
    }
}

/// The presentation of many hosts.
struct Many<W: HostWork> {
    work: Arc<W>,
    total: W::Total,
    stdout: Printer,
    json: bool,
}

impl<W: HostWork> Report for Many<W> {
    type Outcome = Result<W::Outcome, Failed>;

    fn ended(&mut self, host: &HostName, outcome: Self::Outcome) -> Ended {
        let (result, ended) = self.work.report(&mut self.total, host, outcome);
        self.stdout.put(&result);
        ended
    }

    fn nothing(&mut self, host: &HostName, error: &CliError) {
        if self.json
            && let Ok(line) = self.work.nothing(host, error)
        {
            self.stdout.put(&line);
        }
    }

    fn over(&mut self, stdout: &Printer) -> Option<CliError> {
        let (result, error) = self.work.over(&mut self.total);
        stdout.put(&result);
        error
    }

    fn sum(&self, _: Duration) -> Option<String> {
        self.work.sum(&self.total)
    }
}
