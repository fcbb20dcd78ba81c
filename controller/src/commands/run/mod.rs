//! `lariat run`: a command on a host, as if it ran here, or on many.

mod begun;
mod detach;
mod gathered;
mod lines;
mod many;
mod output;
mod request;
mod task;

pub(crate) use begun::{Before, StepLog};
pub(crate) use many::Asked;
pub(crate) use task::Task;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lariat_base::name::HostName;
use lariat_client::HostHandle;
use lariat_client::run::{self, Connections, Job, Outcome, Signals};
use lariat_wire::protocol::exec::{Command, Run};

use crate::capture::Capture;
use crate::commands::report;
use crate::commands::shell::terminal;
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{FanoutOptions, Sink};
use crate::fleet::{self, Fleet};
use crate::output::bytes;
use crate::output::json::object;
use crate::runtime::block_on;
use crate::stdio::{LocalOutput, Stdin};
use crate::target::{Chosen, Targets};

#[derive(clap::Args)]
#[command(after_help = "\
One word after -- is a line for /bin/sh; several are a program and its arguments, with no shell.
The exit status is the command's own; 128+N if signal N ended it, 124 if --timeout did, 126 or 127
if it could not be run, and 255 if lariat itself failed. With --from it is that of the first command
that did not succeed; the others run all the same.

Examples:
  lariat run web1 -- uptime
  lariat run web1 -- 'cd /var/log && tail -n 5 *.log'
  lariat run web1 -i -- tar -x -C /srv < site.tar
  lariat run web1 --timeout 5m -- apt-get -y upgrade
  lariat run deploy@web1 --cwd /srv/app -- git pull
  lariat run web1 --script ./deploy.sh -- v1.2 --quick
  lariat run web1 --from commands.txt
  lariat run web1 --detach -- make world        (then: lariat jobs, logs, attach, kill)")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Args {
    /// Which hosts
    #[arg(value_name = "TARGET")]
    target: Targets,

    /// Send stdin to the command, which otherwise reads /dev/null
    #[arg(short, long, overrides_with = "no_stdin")]
    interactive: bool,

    /// The command's stdin is /dev/null, which is the default, as ssh's -n says
    #[arg(short = 'n', overrides_with = "interactive")]
    no_stdin: bool,

    /// Run it as this user of the host, instead of as the agent's own; the same as NAME@HOST
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,

    /// Run it in this directory; relative to the user's home, which is the default
    #[arg(long, value_name = "DIR")]
    cwd: Option<OsString>,

    /// Add a variable to its environment; can be given again
    #[arg(long, value_name = "K=V")]
    env: Vec<OsString>,

    /// End it after this time, with exit status 124. Reaching the host may take as long before it, a second
    /// at least
    #[arg(long, value_name = "DUR", value_parser = fleet::parse_limit)]
    timeout: Option<Duration>,

    #[command(flatten)]
    connect: fleet::ReachOptions,

    /// One JSON object with its output instead of the output itself
    #[arg(long)]
    json: bool,

    /// Send this local script and run it; the words after -- are its arguments
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    script: Option<PathBuf>,

    /// Run each line of this file (- is stdin) as a command, in order, over one session
    #[arg(long, value_name = "FILE", conflicts_with_all = ["interactive", "command"])]
    from: Option<PathBuf>,

    /// Start it and leave: print the job's id, as the last word of one line
    #[arg(long, conflicts_with_all = ["interactive", "from", "gather", "diff", "out", "tty"])]
    detach: bool,

    /// Run it in a terminal, like the one here; with stdin, if that is a terminal or with -i
    #[arg(short, long, conflicts_with_all = ["from", "gather", "diff", "out", "json"])]
    tty: bool,

    /// {host} in the words after -- is the host's name; {{ and }} are braces
    #[arg(long, conflicts_with = "from")]
    expand: bool,

    #[command(flatten)]
    output: output::OutputOptions,

    #[command(flatten)]
    fanout: FanoutOptions,

    /// The command
    #[arg(last = true, required_unless_present_any = ["script", "from"], value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let command = request::command(args)?;
    let template = request::request(args, command.clone().unwrap_or(Command::Shell(Vec::new())))?;
    let fleet = Fleet::load(context, &args.connect);
    match args.target.plain() {
        Some(chosen) => one(args, context, fleet, &chosen, template),
        None if args.tty => {
            let message =
                format!("run: {} names several hosts; a terminal is for one", args.target);
            Err(CliError::new(message))
        }
        None => many::run(args, context, fleet?, template, command),
    }
}

/// On one host.
fn one(
    args: &Args,
    context: &Context,
    fleet: Result<Fleet, CliError>,
    chosen: &Chosen,
    template: Run,
) -> Result<ExitCode, CliError> {
    let host = &chosen.host;
    let handle = match fleet.and_then(|fleet| Ok((fleet.host(chosen)?.within(args.timeout), fleet)))
    {
        Err(error) if args.json => {
            bytes(&report::nothing(host, &error)?)?;
            return Ok(error.status());
        }
        Err(error) => return Err(error),
        Ok((handle, fleet)) => {
            if !args.fanout.includes(&args.target, &fleet, context)? {
                return Ok(ExitCode::SUCCESS);
            }
            handle
        }
    };
    let template = request::for_host(template, host, request::Expand::of(args))?;
    let request = Run { user: chosen.user(args.user.as_deref())?, ..template };
    if args.detach {
        return block_on(detach::run(args, &request, &handle, context));
    }
    if args.tty {
        let stdin = args.interactive;
        return block_on(terminal::run("run", &request, &handle, stdin, context));
    }
    block_on(async {
        let signals = Signals::new().map_err(|e| CliError::from(e).during("wait for signals"))?;
        let connections = Connections::new(&handle);
        let files = args.output.files(host)?;
        let mut runner = Runner {
            args,
            context,
            host,
            handle: &handle,
            connections,
            signals,
            files,
            ran: false,
        };
        let status = match &args.from {
            Some(file) => lines::run(&mut runner, request, file).await?,
            None => runner.one(&request, None).await?.status,
        };
        runner.finish().await;
        Ok(ExitCode::from(status))
    })
}

/// Runs commands on one host, and reports each.
struct Runner<'a> {
    args: &'a Args,
    context: &'a Context,
    host: &'a HostName,
    handle: &'a HostHandle,
    connections: Connections<'a>,
    signals: Signals,
    /// Where output goes instead of to our own.
    files: Option<(Sink, Sink)>,
    /// Whether any command has begun.
    ran: bool,
}

/// The outcome of one command.
struct Done {
    /// What to exit with if it was the only one.
    status: u8,
    /// Whether another may follow.
    go_on: bool,
}

impl Runner<'_> {
    /// Runs one command; `line` is what it is called if it is one of several.
    async fn one(&mut self, request: &Run, line: Option<&[u8]>) -> Result<Done, CliError> {
        let outcome = if self.args.json {
            self.as_json(request, line).await?
        } else {
            self.as_it_is(request).await?
        };
        let go_on = matches!(outcome, Outcome::Ended(_)) && self.signals.came().is_none();
        Ok(Done { status: report::status(&outcome), go_on })
    }

    async fn finish(self) {
        if let (false, Some((mut stdout, _))) = (self.ran, self.files) {
            stdout.discard();
        }
        self.connections.finish().await;
    }

    async fn as_it_is(&mut self, request: &Run) -> Result<Outcome, CliError> {
        let stdin = stdin(self.args)?;
        let (connections, signals) = (&mut self.connections, &mut self.signals);
        let outcome = if let Some((stdout, stderr)) = &mut self.files {
            let job = Job::new(stdout, stderr);
            let outcome = run::run(connections, signals, request, &job, stdin).await;
            self.ran |= job.has_started();
            outcome
        } else {
            let here = || Ok((LocalOutput::stdout()?, LocalOutput::stderr()?));
            let (stdout, stderr) =
                here().map_err(|e: std::io::Error| CliError::from(e).during("write output"))?;
            let job = Job::new(stdout, stderr);
            run::run(connections, signals, request, &job, stdin).await
        };
        if let Some(error) = report::error("run", &outcome, self.handle, request) {
            error.report(self.context.verbose);
        }
        Ok(outcome)
    }

    /// Whatever fails is told in the object, and nowhere else.
    async fn as_json(&mut self, request: &Run, line: Option<&[u8]>) -> Result<Outcome, CliError> {
        let began = Instant::now();
        let job = Job::new(Capture::default(), Capture::default());
        let stdin = stdin(self.args)?;
        let (connections, signals) = (&mut self.connections, &mut self.signals);
        let outcome = run::run(connections, signals, request, &job, stdin).await;
        let error = report::json_error(&outcome, self.handle, request);
        let (stdout, stderr) = job.into_outputs();
        let (stdout, stderr) = (stdout.read()?, stderr.read()?);
        let (stdout, stderr) = (&stdout, &stderr);
        let said = report::Said { host: self.host, command: line, stdout, stderr, job: None };
        object(&said.result(&outcome, began.elapsed(), error))?;
        Ok(outcome)
    }
}

fn stdin(args: &Args) -> Result<Option<Stdin>, CliError> {
    let open = || Stdin::new().map_err(|e| CliError::from(e).during("read stdin"));
    args.interactive.then(open).transpose()
}
