//! `run` on several hosts: the same as on one, for each of them, and where their output meets.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lariat_common::name::{HostName, JobId};
use lariat_common::protocol::exec::{Command, Run};

use super::{Args, detach, lines, report, request};
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{End, Ended, Fanout, Feed, Gather, Plan, Report, Sink, Work};
use crate::output::json;
use crate::output::printer::Printer;
use crate::reach::{Fleet, Reach};
use crate::run::capture::{Capture, Captured};
use crate::run::{Connections, Job, Outcome, Relay};
use crate::runtime::block_on;
use crate::stdio::Stdin;
use crate::target::Chosen;

/// What becomes of their output.
#[derive(clap::Args)]
#[command(next_help_heading = "Many hosts")]
pub(super) struct OutputOptions {
    /// Tell equal output once, under the hosts that it came from, when all have ended
    #[arg(long, conflicts_with = "json")]
    gather: bool,

    /// The same, with the output of most hosts once and of the others how it differs
    #[arg(long, conflicts_with = "json")]
    diff: bool,

    /// Write each host's stdout to DIR/HOST, and its stderr, if any, to DIR/HOST.err; {host} in DIR is
    /// the host's name, and then it names the file
    #[arg(long, value_name = "DIR", conflicts_with_all = ["json", "gather", "diff"])]
    out: Option<PathBuf>,
}

impl OutputOptions {
    /// The files of a host's stdout and stderr, if it has any of its own.
    pub(super) fn files(&self, host: &HostName) -> Result<Option<(Sink, Sink)>, CliError> {
        self.out.as_ref().map(|out| report::open(out, host)).transpose()
    }
}

/// What is run.
pub(crate) struct Task {
    template: Run,
    commands: Vec<Command>,
    /// The commands are lines of a file, and each is told of by itself.
    by_line: bool,
    /// `{host}` in it is the host's name.
    named: bool,
    output: Output,
    reconnect: Duration,
}

/// What every host is asked.
pub(crate) struct Asked {
    fleet: Arc<Fleet>,
    hosts: Vec<Chosen>,
    task: Task,
    stdout: Printer,
    stderr: Printer,
    feed: Option<Feed>,
    relay: Arc<Relay>,
}

/// What becomes of what they write.
enum Output {
    Lines,
    Json,
    Gather,
    Files(PathBuf),
}

/// What came of a host.
struct Came {
    ended: Ended,
    /// Its stdout, if it is to be gathered.
    kept: Option<Captured>,
}

pub(super) fn run(
    args: &Args,
    context: &Context,
    fleet: Fleet,
    template: Run,
    command: Option<Command>,
) -> Result<ExitCode, CliError> {
    let home = context.home()?;
    let hosts = args.fanout.hosts(&args.target, &fleet.inventory, &home)?;
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
                (Some(Feed::live(hosts.len())), Some(stdin))
            }
            Some(stdin) => {
                let kept = Feed::keep(stdin).await;
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
        let gathered = Gathered { gather: Gather::default(), diff: args.output.diff };
        let begin = move |number| -> Work<Came> {
            let asked = Arc::clone(&asked);
            Box::pin(async move { asked.on(number).await })
        };
        tokio::select! {
            code = fanout.run(begin, gathered) => code,
            () = pump(feed, stdin) => unreachable!("it waits for ever"),
        }
    })
}

/// Reads stdin for those who want it.
async fn pump(feed: Option<Feed>, stdin: Option<Stdin>) {
    match (feed, stdin) {
        (Some(feed), Some(stdin)) => feed.pump(stdin).await,
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

impl Output {
    fn new(args: &Args) -> Self {
        match &args.output.out {
            _ if args.json => Self::Json,
            _ if args.output.gather || args.output.diff => Self::Gather,
            Some(folder) => Self::Files(folder.clone()),
            None => Self::Lines,
        }
    }
}

impl Task {
    async fn new(args: &Args, template: Run, command: Option<Command>) -> Result<Self, CliError> {
        let by_line = command.is_none();
        let commands = match command {
            Some(command) => vec![command],
            None => lines::all(args).await?,
        };
        let (output, reconnect) = (Output::new(args), args.reconnect);
        Ok(Self { template, commands, by_line, named: false, output, reconnect })
    }

    /// One that is a step of a plan: `{host}` in what the plan itself says of it, not in files, is the
    /// host's name. Stdin is not for such.
    pub(crate) async fn of_plan(args: &Args) -> Result<Self, CliError> {
        if args.from.as_ref().is_some_and(|file| file.as_os_str() == "-") {
            return Err(CliError::new("a plan's commands can't come from stdin"));
        }
        let command = request::command(args)?;
        let template = command.clone().unwrap_or(Command::Shell(Vec::new()));
        let task = Self::new(args, request::request(args, template)?, command).await?;
        Ok(Self { named: !task.by_line, ..task })
    }

    /// The request for one host, with a new job's id.
    fn request(&self, command: &Command, chosen: &Chosen) -> Result<Run, CliError> {
        let user = self.template.user.clone().or_else(|| chosen.user.clone());
        let command = command.clone();
        let request = Run { job: JobId::generate()?, command, user, ..self.template.clone() };
        if self.named { request::for_host(request, &chosen.host) } else { Ok(request) }
    }
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

    /// Runs it on one of the hosts, and tells how it ended.
    pub(crate) async fn step(&self, number: usize) -> Ended {
        self.on(number).await.ended
    }

    /// Runs all commands on one of the hosts.
    async fn on(&self, number: usize) -> Came {
        let chosen = &self.hosts[number];
        // However it ends, others do not wait for this one to take its stdin.
        let mut stdin = self.feed.as_ref().map(|feed| feed.reader(number));
        let (reach, sinks) = match self.prepare(number, chosen) {
            Ok(ready) => ready,
            Err(error) => return failed(&chosen.host, error),
        };
        let (mut stdout, mut stderr) = sinks;
        let mut connections = Connections::new(&reach, self.task.reconnect);
        let mut signals = self.relay.signals();
        let mut ended = Ended::ok();
        for command in &self.task.commands {
            let began = Instant::now();
            let request = match self.task.request(command, chosen) {
                Ok(request) => request,
                Err(error) => return failed(&chosen.host, error),
            };
            let job = Job::one_of_many(stdout, stderr);
            let outcome =
                crate::run::run(&mut connections, &mut signals, &request, &job, stdin.take()).await;
            (stdout, stderr) = job.into_outputs();
            let line = self.line(command);
            if let Output::Json = self.task.output {
                let kept = (
                    std::mem::replace(&mut stdout, kept()),
                    std::mem::replace(&mut stderr, kept()),
                );
                self.object(chosen, line, &outcome, kept, (&reach, &request, began)).await;
            } else if let Outcome::Detached = outcome {
                self.stdout.put(detach::told(&chosen.host, &request).as_bytes());
            }
            let now = report::ended(&outcome, &reach, &request, line);
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
        match stdout {
            Sink::Kept(capture) if matches!(self.task.output, Output::Gather) => {
                match capture.read() {
                    Ok(captured) => Came { ended, kept: Some(captured) },
                    Err(error) => failed(&chosen.host, error.into()),
                }
            }
            _ => ended.into(),
        }
    }

    fn prepare(&self, number: usize, chosen: &Chosen) -> Result<(Reach, (Sink, Sink)), CliError> {
        let reach = self.fleet.reach(chosen)?;
        let host = &chosen.host;
        let lines = |printer: &Printer| Sink::lines(host, number, printer);
        let sinks = match &self.task.output {
            Output::Lines => (lines(&self.stdout), lines(&self.stderr)),
            Output::Json => (kept(), kept()),
            Output::Gather => (kept(), lines(&self.stderr)),
            Output::Files(out) => report::open(out, host)?,
        };
        Ok((reach, sinks))
    }

    /// What a command is called, if it is one of several.
    fn line<'a>(&self, command: &'a Command) -> Option<&'a [u8]> {
        match command {
            Command::Shell(line) if self.task.by_line => Some(line),
            _ => None,
        }
    }

    /// Writes what came of a command as an object.
    async fn object(
        &self,
        chosen: &Chosen,
        line: Option<&[u8]>,
        outcome: &Outcome,
        kept: (Sink, Sink),
        (reach, request, began): (&Reach, &Run, Instant),
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
        let error = report::json_error(outcome, reach, request);
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

/// It failed before or behind the command.
fn failed(host: &HostName, error: CliError) -> Came {
    Ended::failed(End::Failed, error.during(format!("run on {host}"))).into()
}

fn kept() -> Sink {
    Sink::Kept(Capture::one_of_many())
}

impl From<Ended> for Came {
    fn from(ended: Ended) -> Self {
        Self { ended, kept: None }
    }
}

/// What is told when all have ended.
struct Gathered {
    gather: Gather,
    diff: bool,
}

impl Report for Gathered {
    type Came = Came;

    fn ended(&mut self, host: &HostName, came: Came) -> Ended {
        let Came { mut ended, kept } = came;
        let Some(Captured { mut bytes, truncated }) = kept else { return ended };
        if truncated {
            bytes.extend_from_slice(b"\n(it is longer; this is as much as is kept)\n");
        }
        if let Err(error) = self.gather.add(host, bytes) {
            ended.errors.push(CliError::from(error).during(host).hint("--out DIR"));
        }
        ended
    }

    fn over(&mut self, stdout: &Printer) -> Option<CliError> {
        let told = if self.diff { self.gather.differences() } else { self.gather.told() };
        stdout.put(&told);
        None
    }
}
