//! `run` on several hosts: the same as on one, for each of them, and where their output meets.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use lariat_base::name::HostName;
use lariat_client::HostHandle;
use lariat_client::run::{self, Connections, Job, Outcome, Relay};
use lariat_wire::protocol::exec::{Command, Run};

use super::begun::{self, StepLog};
use super::gathered::{Came, Gathered};
use super::output::Output;
use super::task::Task;
use super::{Args, detach};
use crate::capture::{Capture, Captured};
use crate::commands::report;
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{End, Ended, Fanout, Plan, Sink, StdinBroadcast, Whole, Work};
use crate::fleet::Fleet;
use crate::output::json;
use crate::output::printer::Printer;
use crate::runtime::block_on;
use crate::stdio::Stdin;
use crate::target::Chosen;

/// What every host is asked.
pub(crate) struct Asked {
    fleet: Arc<Fleet>,
    hosts: Vec<Chosen>,
    task: Task,
    stdout: Printer,
    stderr: Printer,
    feed: Option<StdinBroadcast>,
    relay: Arc<Relay>,
}

pub(super) fn run(
    args: &Args,
    context: &Context,
    fleet: Fleet,
    template: Run,
    command: Option<Command>,
) -> Result<ExitCode, CliError> {
    let hosts = args.fanout.hosts(&args.target, &fleet, context)?;
    for chosen in &hosts {
        chosen.user(args.user.as_deref())?;
    }
    if hosts.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let limits = args.fanout.limits();
    block_on(async {
        let task = Task::new(args, template, command).await?;
        let stdin = super::stdin(args)?;
        let (feed, stdin) = match stdin {
            Some(stdin) if limits.all_at_once(hosts.len()) => {
                (Some(StdinBroadcast::live(hosts.len())), Some(stdin))
            }
            Some(stdin) => {
                let kept = StdinBroadcast::keep(stdin).await;
                (Some(kept.map_err(|e| CliError::from(e).during("read stdin"))?), None)
            }
            None => (None, None),
        };
        let names = hosts.iter().map(|chosen| chosen.host.clone()).collect();
        let plan = Plan::now("run", what(args), args.target.to_string(), names);
        let fanout = Fanout::new(context, plan, limits, args.json)?;
        let asked = Arc::new(Asked {
            fleet: Arc::new(fleet),
            hosts,
            task,
            stdout: fanout.screen.stdout.clone(),
            stderr: fanout.screen.stderr.clone(),
            feed: feed.clone(),
            relay: Arc::clone(&fanout.relay),
        });
        let slow = {
            let asked = Arc::clone(&asked);
            move |numbers: Vec<usize>| asked.held_up(&numbers)
        };
        let objects = args.json.then(|| fanout.screen.stdout.clone());
        let gathered = Gathered::new(args.output.diff, objects, fanout.screen.stderr.clone());
        let begin = move |number| -> Work<Came> {
            let asked = Arc::clone(&asked);
            Box::pin(async move { asked.on(number, None).await })
        };
        tokio::select! {
            code = fanout.run(begin, gathered) => code,
            () = pump(feed, stdin, slow) => unreachable!("it waits for ever"),
        }
    })
}

/// Reads stdin for those who want it.
async fn pump(feed: Option<StdinBroadcast>, stdin: Option<Stdin>, slow: impl Fn(Vec<usize>)) {
    match (feed, stdin) {
        (Some(feed), Some(stdin)) => feed.pump(stdin, slow).await,
        _ => std::future::pending().await,
    }
}

/// What is run, for the ledger.
fn what(args: &Args) -> String {
    let words = args.command.iter().map(|word| word.to_string_lossy().into_owned());
    let option = |name: &str, path: &Option<PathBuf>| {
        path.as_ref().map(|path| format!("--{name} {}", path.display()))
    };
    let script = option("script", &args.script).or_else(|| option("from", &args.from));
    script.into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

impl Asked {
    /// A step of a plan.
    pub(crate) fn of_plan(
        task: Task,
        fleet: &Arc<Fleet>,
        hosts: Vec<Chosen>,
        (stdout, stderr): (Printer, Printer),
        relay: &Arc<Relay>,
    ) -> Self {
        Self {
            fleet: Arc::clone(fleet),
            hosts,
            task,
            stdout,
            stderr,
            feed: None,
            relay: Arc::clone(relay),
        }
    }

    /// Runs it on one of the hosts, as `log` says, and tells how it ended.
    pub(crate) async fn step(&self, number: usize, log: &StepLog<'_>) -> Ended {
        self.on(number, Some(log)).await.ended
    }

    /// Runs all commands on one of the hosts.
    async fn on(&self, number: usize, log: Option<&StepLog<'_>>) -> Came {
        let chosen = &self.hosts[number];
        // However it ends, others do not wait for this one to take its stdin.
        let mut stdin = self.feed.as_ref().map(|feed| feed.reader(number));
        let (handle, sinks) = match self.prepare(number, chosen) {
            Ok(ready) => ready,
            Err(error) => return self.failed(&chosen.host, error),
        };
        let (mut stdout, mut stderr) = sinks;
        let mut connections = Connections::new(&handle);
        let mut signals = self.relay.signals();
        let (mut ended, mut ran) = (Ended::ok(), false);
        let mut before = log.and_then(|log| log.before);
        if before.is_some_and(|before| before.has_failed) {
            let error = CliError::new("a command that was run before has failed");
            ended = Ended::failed(End::Failed, error.during(format!("run on {}", chosen.host)));
        }
        let first = before.map_or(0, |before| before.command);
        for (index, command) in self.task.commands.iter().enumerate().skip(first) {
            let began = Instant::now();
            let request = self.task.request(command, chosen, handle.reconnect());
            let mut request = match request {
                Ok(request) => request,
                Err(error) => return self.failed(&chosen.host, error),
            };
            let job = Job::one_of_many(stdout, stderr);
            let resumed = match (before.take(), log) {
                (Some(before), Some(log)) => {
                    let again = Run { job: before.job, ..request.clone() };
                    (log.note)(&format!("begun before as job {}: attached to it", before.job));
                    let (to, ago) = (&mut connections, before.ago);
                    let outcome = run::resume(to, &mut signals, &again, ago, &job).await;
                    if let Some(why) = begun::did_not_finish(&outcome) {
                        (log.note)(&format!("begun before, and {why}: tried again"));
                        None
                    } else {
                        request = again;
                        Some(outcome)
                    }
                }
                _ => None,
            };
            let (job, outcome) = if let Some(outcome) = resumed {
                (job, outcome)
            } else {
                let begins =
                    |log: &StepLog<'_>| (log.begins)(index, request.job, ended.end != End::Ok);
                if let Err(error) = log.map_or(Ok(()), begins) {
                    return self.failed(&chosen.host, error);
                }
                let (stdout, stderr) = job.into_outputs();
                let job = Job::one_of_many(stdout, stderr);
                let (to, stdin) = (&mut connections, stdin.take());
                let outcome = run::run(to, &mut signals, &request, &job, stdin).await;
                (job, outcome)
            };
            if let Some(log) = log {
                log.ended(&outcome);
            }
            ran |= job.has_started();
            (stdout, stderr) = job.into_outputs();
            let line = self.task.line(command);
            if let Output::Json = self.task.output {
                let kept = (
                    std::mem::replace(&mut stdout, kept()),
                    std::mem::replace(&mut stderr, kept()),
                );
                self.object(chosen, line, &outcome, kept, (&handle, &request, began)).await;
            } else if let Outcome::Detached = outcome {
                self.stdout.put(detach::told(&chosen.host, &request).as_bytes());
            }
            let now = report::ended(&outcome, &handle, &request, line);
            if ended.end == End::Ok {
                ended = now;
            }
            if !matches!(outcome, Outcome::Ended(_)) || signals.came().is_some() {
                break;
            }
        }
        stdout.finish().await;
        stderr.finish().await;
        connections.finish().await;
        if !ran {
            stdout.discard();
        }
        match (stdout, stderr) {
            (Sink::Kept(stdout), Sink::Kept(stderr))
                if ran && matches!(self.task.output, Output::Gather) =>
            {
                match (stdout.read(), stderr.read()) {
                    (Ok(stdout), Ok(stderr)) => {
                        let kept = Some(Whole { stdout, stderr, exit: ended.exit });
                        Came { ended, kept }
                    }
                    (Err(error), _) | (_, Err(error)) => self.failed(&chosen.host, error.into()),
                }
            }
            _ => ended.into(),
        }
    }

    /// Tells that these hosts do not read their stdin, and that all others wait for them.
    fn held_up(&self, numbers: &[usize]) {
        let names: Vec<&str> = numbers.iter().map(|&n| self.hosts[n].host.as_str()).collect();
        let line = format!(
            "lariat: the other hosts get no more stdin until {} read what waits for them\n",
            names.join(", ")
        );
        self.stderr.put(line.as_bytes());
    }

    /// It failed before or behind the command.
    fn failed(&self, host: &HostName, error: CliError) -> Came {
        let error = error.during(format!("run on {host}"));
        let end = error.end();
        if let Output::Json = self.task.output {
            report::put_nothing(&self.stdout, host, &error);
        }
        Ended::failed(end, error).into()
    }

    fn prepare(
        &self,
        number: usize,
        chosen: &Chosen,
    ) -> Result<(HostHandle, (Sink, Sink)), CliError> {
        let handle = self.fleet.host(chosen)?.within(self.task.timeout());
        let handle = handle.reconnecting(self.task.reconnect);
        let host = &chosen.host;
        let lines = |printer: &Printer| Sink::lines(host, number, printer);
        let sinks = match &self.task.output {
            Output::Lines => (lines(&self.stdout), lines(&self.stderr)),
            Output::Json | Output::Gather => (kept(), kept()),
            Output::Files(out) => report::open(out, host)?,
        };
        Ok((handle, sinks))
    }

    /// Writes a command's outcome as an object.
    async fn object(
        &self,
        chosen: &Chosen,
        line: Option<&[u8]>,
        outcome: &Outcome,
        kept: (Sink, Sink),
        (handle, request, began): (&HostHandle, &Run, Instant),
    ) {
        let took = began.elapsed();
        // What is read of it now is in memory until it is written.
        self.stdout.room().await;
        let read = |sink| match sink {
            Sink::Kept(capture) => capture.read(),
            _ => Ok(Captured::default()),
        };
        let (stdout, stderr, unread) = match (read(kept.0), read(kept.1)) {
            (Ok(stdout), Ok(stderr)) => (stdout, stderr, None),
            (Err(error), _) | (_, Err(error)) => {
                (Captured::default(), Captured::default(), Some(error))
            }
        };
        let error = report::json_error(outcome, handle, request);
        let error =
            error.or_else(|| unread.map(|error| CliError::from(error).during("read its output")));
        let (host, stdout, stderr) = (&chosen.host, &stdout, &stderr);
        let job = report::left_there(outcome, request);
        let said = report::Said { host, command: line, stdout, stderr, job };
        match json::line(&said.result(outcome, took, error)) {
            Ok(line) => self.stdout.put(&line),
            Err(error) => self.stderr.put(error.told(false).as_bytes()),
        }
    }
}

fn kept() -> Sink {
    Sink::Kept(Box::new(Capture::one_of_many()))
}
