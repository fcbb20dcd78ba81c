//! `lariat run`: a command on a host, as if it ran here.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lariat_common::name::JobId;
use lariat_common::protocol::exec::{Command, End, Run};
use lariat_common::units::parse_duration;

use crate::context::Context;
use crate::error::{CliError, EXIT_FAILURE};
use crate::output::json::{RunResult, object};
use crate::reach::{self, Reach};
use crate::run::capture::Capture;
use crate::run::{Job, Outcome, not_run};
use crate::runtime::block_on;
use crate::stdio::{LocalOutput, Stdin};
use crate::target::Target;

/// What a process exits with that SIGPIPE has ended.
const EXIT_SIGPIPE: u8 = 128 + 13;

#[derive(clap::Args)]
#[command(after_help = "\
One word after -- is a line for /bin/sh; several are a program and its arguments, with no shell.
The exit status is the command's own; 128+N if signal N ended it, 124 if --timeout did, 126 or 127
if it could not be run, and 255 if lariat itself failed.

Examples:
  lariat run web1 -- uptime
  lariat run web1 -- 'cd /var/log && tail -n 5 *.log'
  lariat run web1 -i -- tar -x -C /srv < site.tar
  lariat run web1 --timeout 5m -- apt-get -y upgrade")]
pub(crate) struct Args {
    /// Which host
    #[arg(value_name = "TARGET")]
    target: Target,

    /// Send stdin to the command, which otherwise reads /dev/null
    #[arg(short)]
    interactive: bool,

    /// Run it in this folder; relative to the user's home, which is the default
    #[arg(long, value_name = "DIR")]
    cwd: Option<OsString>,

    /// Add a variable to its environment; can be given again
    #[arg(long, value_name = "K=V")]
    env: Vec<OsString>,

    /// End it after this time, with exit status 124
    #[arg(long, value_name = "DUR", value_parser = reach::parse_limit)]
    timeout: Option<Duration>,

    #[command(flatten)]
    connect: reach::ReachOptions,

    /// How long a broken connection may stay broken before the command is ended
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = parse_duration)]
    reconnect: Duration,

    /// One JSON object with its output instead of the output itself
    #[arg(long)]
    json: bool,

    /// The command
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let request = request(args)?;
    if args.json {
        return as_json(args, &request, context);
    }
    let reach = Reach::new(context, &args.target, &args.connect)?;
    block_on(async move {
        let stdin = stdin(args)?;
        let here = || Ok((LocalOutput::stdout()?, LocalOutput::stderr()?));
        let (stdout, stderr) =
            here().map_err(|e: std::io::Error| CliError::from(e).during("write output"))?;
        let job = Job::new(stdout, stderr);
        let outcome = crate::run::run(&reach, &request, &job, stdin).await;
        if let Some(error) = error(&outcome, &reach, &request) {
            error.report(context.verbose);
        }
        Ok(ExitCode::from(status(&outcome)))
    })
}

fn stdin(args: &Args) -> Result<Option<Stdin>, CliError> {
    let open = || Stdin::new().map_err(|e| CliError::from(e).during("read stdin"));
    args.interactive.then(open).transpose()
}

fn request(args: &Args) -> Result<Run, CliError> {
    let bytes = |text: &OsString| text.clone().into_vec();
    let command = match args.command.as_slice() {
        [line] => Command::Shell(bytes(line)),
        words => Command::Argv(words.iter().map(bytes).collect()),
    };
    let request = Run {
        job: JobId::generate()?,
        command,
        cwd: args.cwd.as_ref().map(bytes),
        env: args.env.iter().map(variable).collect::<Result<_, _>>()?,
        stdin: args.interactive,
        timeout_ms: args.timeout.map(milliseconds),
        grace_ms: milliseconds(args.reconnect),
    };
    request.check().map_err(|e| CliError::from(e).during("run"))?;
    Ok(request)
}

fn variable(text: &OsString) -> Result<(Vec<u8>, Vec<u8>), CliError> {
    let bytes = text.as_bytes();
    let Some(equals) = bytes.iter().position(|&byte| byte == b'=') else {
        let message = format!("--env {}: there is no '=' in it", text.to_string_lossy());
        return Err(CliError::new(message).hint("--env NAME=VALUE"));
    };
    Ok((bytes[..equals].to_vec(), bytes[equals + 1..].to_vec()))
}

/// A limit of less than a millisecond is still one.
fn milliseconds(time: Duration) -> u64 {
    let up = time.saturating_add(Duration::from_nanos(999_999)).as_millis();
    u64::try_from(up).unwrap_or(u64::MAX)
}

fn status(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Ended(end) => end.status(),
        Outcome::Left { signal, .. } => 128 + signal,
        Outcome::NoReader => EXIT_SIGPIPE,
        Outcome::Failed(_) => EXIT_FAILURE,
    }
}

/// What went wrong, if it was not the command itself.
fn error(outcome: &Outcome, reach: &Reach, request: &Run) -> Option<CliError> {
    use crate::run::RunError::Connect;
    let name = &reach.peer.name;
    let on = format!("run on {name}");
    Some(match outcome {
        Outcome::Ended(End::NotRun(errno)) => CliError::from(not_run(request, *errno)).during(on),
        Outcome::Ended(_) | Outcome::NoReader | Outcome::Left { running: false, .. } => {
            return None;
        }
        Outcome::Left { running: true, .. } => {
            let grace = Duration::from_millis(request.grace_ms).as_secs_f32();
            let message = format!("left; what still runs there is ended in {grace} s");
            CliError::new(message).during(on)
        }
        // It names the host and its address itself, and says if the command may have run.
        Outcome::Failed(error @ Connect(_)) => CliError::from(error).before("run on"),
        Outcome::Failed(error) => {
            CliError::from(error).during(format!("{on} ({})", reach.peer.address))
        }
    })
}

/// The same as an object. Whatever fails is told in it, and nowhere else.
fn as_json(args: &Args, request: &Run, context: &Context) -> Result<ExitCode, CliError> {
    let began = Instant::now();
    let job = Job::new(Capture::default(), Capture::default());
    let work = |reach: Reach| {
        block_on(async {
            let outcome = crate::run::run(&reach, request, &job, stdin(args)?).await;
            let error = match outcome {
                Outcome::Ended(End::TimedOut) => request.timeout_ms.map(|ms| {
                    let limit = Duration::from_millis(ms).as_secs_f32();
                    CliError::new(format!("it did not end within {limit} s"))
                }),
                _ => error(&outcome, &reach, request),
            };
            Ok((Some(outcome), error))
        })
    };
    let (outcome, error) = Reach::new(context, &args.target, &args.connect)
        .and_then(work)
        .unwrap_or_else(|error| (None, Some(error)));
    let status = outcome.as_ref().map_or(EXIT_FAILURE, status);
    let (exit, signal) = match outcome {
        Some(Outcome::Ended(End::NotRun(_))) => (None, None),
        Some(Outcome::Ended(End::Signaled(signal))) => (Some(status), Some(signal)),
        Some(Outcome::Ended(_)) => (Some(status), None),
        _ => (None, None),
    };
    let (stdout, stderr) = job.into_outputs();
    object(&RunResult {
        host: &args.target.host,
        ok: matches!(outcome, Some(Outcome::Ended(End::Exited(0)))),
        exit,
        signal,
        stdout: &stdout.bytes,
        stderr: &stderr.bytes,
        truncated: stdout.truncated || stderr.truncated,
        seconds: began.elapsed().as_secs_f64(),
        error: error.map(|error| error.line()),
    })?;
    Ok(ExitCode::from(status))
}
