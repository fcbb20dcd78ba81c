//! A transfer to or from several hosts: each of them by itself, and one summary.

use std::pin::Pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lariat_base::name::HostName;

use super::{Listing, Tally};
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{End, Ended, Fanout, Limits, Plan, Report, Work};
use crate::output::printer::Printer;
use crate::output::style;

/// How it is gone about.
pub(crate) struct Many<'a> {
    pub(crate) context: &'a Context,
    pub(crate) plan: Plan,
    pub(crate) limits: Limits,
    pub(crate) json: bool,
    /// Nothing is changed, so the ledger does not record it.
    pub(crate) dry_run: bool,
}

/// The transfer of one host.
pub(crate) type Transfer = Pin<Box<dyn Future<Output = Tally>>>;

impl Many<'_> {
    /// Does it for every host. Needs a runtime around it.
    pub(crate) async fn run(
        self,
        transfer: impl Fn(usize, Listing) -> Transfer + Send + Sync + 'static,
    ) -> Result<ExitCode, CliError> {
        let Self { context, plan, limits, json, .. } = self;
        let (hosts, verb) = (plan.hosts.clone(), plan.verb.clone());
        let fanout = if self.dry_run {
            Fanout::look(context, plan.hosts, limits, json)?
        } else {
            Fanout::new(context, plan, limits, json)?
        };
        let (stdout, stderr) = (fanout.screen.stdout.clone(), fanout.screen.stderr.clone());
        let lines = if json { stderr.clone() } else { stdout.clone() };
        let relay = fanout.relay.clone();
        let begin = move |number: usize| -> Work<Tally> {
            let host = &hosts[number];
            let work = transfer(number, Listing::Host(host.clone(), lines.clone()));
            let mut signals = relay.signals();
            let what = format!("{verb} on {host}");
            Box::pin(async move {
                let began = Instant::now();
                tokio::select! {
                    tally = work => tally,
                    _ = signals.next() => {
                        Tally::only(End::Failed, interrupted().during(what)).since(began)
                    }
                }
            })
        };
        fanout.run(begin, Totals { stdout, stderr, json, all: Tally::new() }).await
    }
}

fn interrupted() -> CliError {
    CliError::new("interrupted").next("run it again: only what is missing is sent")
}

/// What all of them moved.
struct Totals {
    stdout: Printer,
    stderr: Printer,
    json: bool,
    all: Tally,
}

impl Tally {
    /// How it ended, without what was moved; what was passed over is told on `notes`.
    pub(crate) fn into_ended(self, notes: &Printer) -> Ended {
        for note in self.notes.iter().filter(|_| !style::is_quiet()) {
            notes.put(format!("{note}\n").as_bytes());
        }
        Ended { end: self.end(), exit: None, said: None, errors: self.errors }
    }
}

impl Report for Totals {
    type Outcome = Tally;

    fn ended(&mut self, host: &HostName, tally: Tally) -> Ended {
        let object = tally.object(host);
        self.all.add(&tally);
        let mut ended = tally.into_ended(&self.stderr);
        match object {
            Ok(line) if self.json => self.stdout.put(&line),
            Ok(_) => {}
            Err(error) => ended.errors.push(error),
        }
        ended
    }

    fn nothing(&mut self, host: &HostName, error: &CliError) {
        let tally = Tally::only(error.end(), error.clone());
        // There is nothing in it that could not be written as JSON.
        if let (true, Ok(line)) = (self.json, tally.object(host)) {
            self.stdout.put(&line);
        }
    }

    fn sum(&self, took: Duration) -> Option<String> {
        self.all.has_files().then(|| self.all.moved_in(took))
    }
}
