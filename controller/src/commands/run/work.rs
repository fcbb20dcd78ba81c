//! The work of `run` on each host: its commands in order, over one session.

use std::convert::Infallible;
use std::future::pending;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::Instant;

use lariat_base::lock::lock;
use lariat_base::name::HostName;
use lariat_client::HostHandle;
use lariat_client::run::{self, Connections, Job, Outcome, Signals};
use lariat_wire::protocol::exec::{Command, Run};
use lariat_wire::protocol::request::Request;
use tokio::io::AsyncRead;

use super::begun::{self, Before, StepLog};
use super::output::Output;
use super::task::Task;
use crate::capture::Captured;
use crate::commands::report;
use crate::encoding::{Conversion, Encoded};
use crate::error::CliError;
use crate::fanout::{
    End, Ended, Failed, Gather, HostContext, HostWork, Outlet, Screen, Sink, StdinBroadcast, Whole,
};
use crate::home::Home;
use crate::known_jobs::{self, KnownJob};
use crate::notes;
use crate::output::{json, screened};
use crate::status;
use crate::stdio::Stdin;
use crate::target::{Chosen, fold};

/// Runs a task on each host.
pub(crate) struct RunWork {
    pub(super) task: Task,
    pub(super) stdin: StdinSource,
    /// Where detached jobs are noted.
    pub(super) home: Option<Home>,
    /// What `--encoding` asks for.
    pub(super) conversion: Conversion,
}

/// The commands' stdin.
pub(super) enum StdinSource {
    /// `/dev/null`
    Null,
    /// This process's own stdin, as it arrives: for a single host.
    Own,
    /// This process's own stdin, for several hosts. It is read while they read, unless it was read before.
    Broadcast(StdinBroadcast, Mutex<Option<Encoded<Stdin>>>),
}

/// A host's outcome.
pub(crate) struct Ran {
    ended: Ended,
    /// Its output, if output is gathered and a command ran.
    kept: Option<Whole>,
    /// A detached job was started, and not yet reported.
    has_started: bool,
}

/// The results of all hosts.
#[derive(Default)]
pub(crate) struct Total {
    gather: Gather,
    /// The hosts on which a detached job was started.
    started: Vec<HostName>,
}

impl HostWork for RunWork {
    type Outcome = Ran;
    type Total = Total;

    async fn on(&self, host: HostContext<'_>) -> Result<Ran, Failed> {
        let (name, outlet) = (&host.chosen.host, host.outlet);
        let ran = Box::pin(self.commands(host, None)).await;
        Ok(ran.map_err(|error| match outlet {
            Outlet::Own { .. } => error,
            Outlet::Shared { .. } => error.during(format!("run on {name}")),
        })?)
    }

    async fn beside(&self, hosts: &[Chosen], outlet: &Outlet) -> Infallible {
        let slow = |numbers: Vec<usize>| {
            let names: Vec<&str> = numbers.iter().map(|&n| hosts[n].host.as_str()).collect();
            let names = names.join(", ");
            outlet.tell(&format!(
                "lariat: the other hosts get no more stdin until {names} read what waits for them"
            ));
        };
        if let StdinSource::Broadcast(broadcast, stdin) = &self.stdin {
            let stdin = lock(stdin).take();
            if let Some(stdin) = stdin {
                broadcast.pump(stdin, slow).await;
            }
        }
        pending().await
    }

    fn report(
        &self,
        total: &mut Total,
        host: &HostName,
        outcome: Result<Ran, Failed>,
    ) -> (Vec<u8>, Ended) {
        let Ran { mut ended, kept, has_started } = match outcome {
            Ok(ran) => ran,
            Err(failed) => return self.failed(self.has_objects(), host, failed.into()),
        };
        if let Some(whole) = kept
            && let Err(error) = total.gather.add(host, whole)
        {
            ended.errors.push(CliError::from(error).during(host).hint("--out DIR"));
        }
        total.started.extend(has_started.then(|| host.clone()));
        (Vec::new(), ended)
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        report::nothing(host, error)
    }

    fn over(&self, total: &mut Total, screen: &Screen) -> Option<CliError> {
        if let (Some(job), [_, ..]) = (self.task.shared_job(), &*total.started) {
            let hosts = fold(total.started.iter().map(HostName::as_str));
            screen.stdout.put(format!("{hosts}: started job {job}\n").as_bytes());
        }
        if let Some(told) = self.conversion.told_stdin() {
            screen.stderr.put(format!("lariat: run: {told}\n").as_bytes());
        }
        let total = &total.gather;
        let Output::Gather { diff } = self.task.output else { return None };
        let text = if diff { total.differences() } else { total.text() };
        for (printer, text) in [(&screen.stdout, text.stdout), (&screen.stderr, text.stderr)] {
            if printer.is_terminal() {
                printer.put(&screened::text(&text, printer.has_colours()));
            } else {
                printer.put(&text);
            }
        }
        None
    }
}

impl RunWork {
    /// Runs the task as a step of a plan.
    pub(crate) async fn step(&self, host: HostContext<'_>, log: &StepLog<'_>) -> Ended {
        let name = &host.chosen.host;
        self.commands(host, Some(log)).await.map_or_else(
            |error| Ended::failed(error.end(), error.during(format!("run on {name}"))),
            |ran| ran.ended,
        )
    }

    /// What a dry run of a plan asks a host.
    pub(crate) fn asked(&self, chosen: &Chosen) -> Result<Vec<Request>, CliError> {
        Ok(self.task.questions(chosen)?.into_iter().filter_map(|one| one.request).collect())
    }

    fn has_objects(&self) -> bool {
        matches!(self.task.output, Output::Json)
    }

    /// Runs all commands on one host.
    async fn commands(
        &self,
        host: HostContext<'_>,
        log: Option<&StepLog<'_>>,
    ) -> Result<Ran, CliError> {
        let HostContext { number, chosen, handle, outlet, .. } = host;
        // Dropping the reader on return releases the other hosts from waiting for this one.
        let mut stdin = self.stdin(number)?;
        let handle = handle.within(self.task.timeout());
        let outputs = match &self.task.output {
            Output::Lines => outlet.streams(&chosen.host)?,
            Output::Json | Output::Gather { .. } => outlet.captures(),
            Output::Files(out) => report::open(out, &chosen.host)?,
        };
        let conversion = &self.conversion;
        let outputs = Sink::decoding(outputs, conversion.encoding);
        let (connections, signals) = (Connections::new(&handle), outlet.signals()?);
        let mut running =
            Running { outlet, connections, signals, conversion, outputs, has_started: false };
        let (mut ended, mut has_started) = (Ended::ok(), false);
        let mut before = log.and_then(|log| log.before);
        if before.is_some_and(|before| before.has_failed) {
            let error = CliError::new("a command that was run before has failed");
            ended = Ended::failed(End::Failed, error.during(format!("run on {}", chosen.host)));
        }
        let mut commands = self.task.commands()?;
        for index in before.map_or(0, |before| before.command).. {
            let command = tokio::select! {
                biased;
                command = commands.next(index) => command?,
                number = running.signals.next() => {
                    ended.status = Some(status::signal(number));
                    break;
                }
            };
            let Some(command) = command else { break };
            let began = Instant::now();
            let mut request = self.task.request(&command, chosen, handle.reconnect())?;
            let resumed = match (before.take(), log) {
                (Some(before), Some(log)) => running.resume(&mut request, before, log).await,
                _ => None,
            };
            let outcome = if let Some(outcome) = resumed {
                outcome
            } else {
                let has_failed = ended.end != End::Ok;
                log.map_or(Ok(()), |log| (log.begins)(index, request.job, has_failed))?;
                running.run(&request, stdin.take()).await
            };
            if let Some(log) = log {
                log.ended(&outcome);
            }
            let line = self.task.line(&command);
            let mut now = report::ended(&outcome, &handle, &request, line);
            let status = report::status(&outcome);
            now.status = Some(status);
            if self.has_objects() {
                running.put_object(&outcome, &handle, &request, line, began).await?;
            } else if let Outcome::Detached = outcome {
                // The hosts of a fan-out are reported together.
                has_started = matches!(outlet, Outlet::Shared { .. }) && log.is_none();
                if !has_started {
                    let told = format!("{}: started job {}\n", chosen.host, request.job);
                    outlet.put(told.as_bytes())?;
                }
                self.note(&request, chosen);
            }
            if let Outlet::Own { verbose, .. } = outlet
                && !self.has_objects()
            {
                // The error must precede the output of the next command.
                now.errors.clear();
                if let Some(error) = report::error("run", &outcome, &handle, &request) {
                    error.report(*verbose);
                }
            }
            // A failure of lariat itself takes precedence over a command's.
            if ended.end == End::Ok || now.end >= End::Errored {
                ended = now;
            }
            let came = running.signals.came();
            if !matches!(outcome, Outcome::Ended(_)) || came.is_some() {
                let came = came.filter(|_| line.is_some());
                ended.status = Some(came.map_or(status, status::signal));
                break;
            }
        }
        let gathers = matches!(self.task.output, Output::Gather { .. });
        let unread = running.connections.unread_notes();
        let (stdout, stderr) = &running.outputs;
        let told = conversion.told_output(stdout.replaced(), stderr.replaced());
        let kept = running.finish(gathers, ended.exit).await?;
        // The hosts of a fan-out have one stdin, which is told at the end.
        let of_stdin = conversion.told_stdin().filter(|_| matches!(outlet, Outlet::Own { .. }));
        for told in told.into_iter().chain(of_stdin) {
            outlet.tell(&format!("lariat: run on {}: {told}", chosen.host));
        }
        let is_for_a_person = matches!(outlet, Outlet::Own { .. }) && !self.has_objects();
        if unread > 0 && is_for_a_person && std::io::stdout().is_terminal() {
            notes::show(&handle).await;
        }
        Ok(Ran { ended, kept, has_started })
    }

    /// Notes a detached job.
    fn note(&self, request: &Run, chosen: &Chosen) {
        let command = match &request.command {
            Command::Shell(line) => line.clone(),
            Command::Argv(words) => words.join(&b' '),
            Command::Script { .. } | Command::Login => Vec::new(),
        };
        if let Some(home) = &self.home {
            known_jobs::note(home, &[KnownJob::new(&chosen.host, request.job, &command)]);
        }
    }

    fn stdin(&self, number: usize) -> Result<Option<BoxStdin>, CliError> {
        Ok(match &self.stdin {
            StdinSource::Null => None,
            StdinSource::Own => Some(Box::new(self.conversion.stdin(open_stdin()?))),
            StdinSource::Broadcast(broadcast, _) => Some(Box::new(broadcast.reader(number))),
        })
    }
}

/// Opens this process's own stdin.
pub(super) fn open_stdin() -> Result<Stdin, CliError> {
    Stdin::new().map_err(|e| CliError::from(e).during("read stdin"))
}

type BoxStdin = Box<dyn AsyncRead + Unpin>;

/// The session of one host's commands.
struct Running<'a> {
    outlet: &'a Outlet,
    connections: Connections<'a>,
    signals: Signals,
    conversion: &'a Conversion,
    /// The destinations of the next command's stdout and stderr.
    outputs: (Sink, Sink),
    /// Whether any command has started.
    has_started: bool,
}

impl Running<'_> {
    /// Runs one command to its end.
    async fn run(&mut self, request: &Run, stdin: Option<BoxStdin>) -> Outcome {
        let job = self.job();
        let (connections, signals) = (&mut self.connections, &mut self.signals);
        let outcome = Box::pin(run::run(connections, signals, request, &job, stdin)).await;
        self.done(job);
        outcome
    }

    /// Attaches to the job that an earlier controller started, and makes `request` that job's. Returns `None`
    /// if the job did not end by itself.
    async fn resume(
        &mut self,
        request: &mut Run,
        before: Before,
        log: &StepLog<'_>,
    ) -> Option<Outcome> {
        let again = Run { job: before.job, ..request.clone() };
        (log.note)(&format!("begun before as job {}: attached to it", before.job));
        let job = self.job();
        let (connections, signals) = (&mut self.connections, &mut self.signals);
        let outcome = run::resume(connections, signals, &again, before.ago, &job).await;
        self.done(job);
        if let Some(why) = begun::did_not_finish(&outcome) {
            (log.note)(&format!("begun before, and {why}: tried again"));
            return None;
        }
        *request = again;
        Some(outcome)
    }

    fn job(&mut self) -> Job<Sink, Sink> {
        self.outlet.job(std::mem::replace(&mut self.outputs, self.outlet.captures()))
    }

    fn done(&mut self, job: Job<Sink, Sink>) {
        self.has_started |= job.has_started();
        self.outputs = job.into_outputs();
    }

    /// Closes the session. Returns the output of the last command if it `gathers` and a command has started.
    async fn finish(self, gathers: bool, exit: Option<u8>) -> Result<Option<Whole>, CliError> {
        let (mut stdout, mut stderr) = self.outputs;
        stdout.finish().await;
        stderr.finish().await;
        self.connections.finish().await;
        if !self.has_started {
            stdout.discard();
        }
        let whole = || -> Result<_, CliError> {
            Ok(Whole { stdout: stdout.read()?, stderr: stderr.read()?, exit })
        };
        (gathers && self.has_started).then(whole).transpose()
    }

    /// Writes a command's outcome as an object.
    async fn put_object(
        &mut self,
        outcome: &Outcome,
        handle: &HostHandle,
        request: &Run,
        line: Option<&[u8]>,
        began: Instant,
    ) -> Result<(), CliError> {
        let took = began.elapsed();
        // Limits how many objects are in memory at a time.
        self.outlet.room().await;
        let next = Sink::decoding(self.outlet.captures(), self.conversion.encoding);
        let (stdout, stderr) = std::mem::replace(&mut self.outputs, next);
        let read = stdout.read().and_then(|stdout| Ok((stdout, stderr.read()?)));
        let (read, unread) = match read {
            Ok(read) => (read, None),
            Err(error) => {
                let error = CliError::from(error).during("read its output");
                ((Captured::default(), Captured::default()), Some(error))
            }
        };
        let error = report::json_error(outcome, handle, request).or(unread);
        let (host, (stdout, stderr)) = (handle.name(), &read);
        let job = report::left_there(outcome, request);
        let said = report::Said { host, command: line, stdout, stderr, job };
        self.outlet.put(&json::line(&said.result(outcome, took, error))?)
    }
}
