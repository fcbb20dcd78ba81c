//! `lariat logs` and `lariat attach`: what a detached job has written, and writes.

mod followed;
mod many;

use std::process::ExitCode;

use lariat_base::name::HostName;
use lariat_client::run::{Log, LogsError, Wanted};
use lariat_client::{HostHandle, Session};
use lariat_wire::protocol::job::{Job, Start, State};
use tokio::io::AsyncWrite;

use crate::capture::{Capture, Captured};
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{End, Failed};
use crate::jobs::{self, Found, Prefix, Unnamed, Whom, Wish};
use crate::output;
use crate::output::json::{self, LogsResult};
use crate::runtime::block_on;
use crate::stdio::LocalOutput;

/// What both verbs take.
#[derive(clap::Args)]
pub(super) struct Common {
    /// Which job: its id or the beginning of it [default: the newest detached one]
    #[arg(value_name = "JOB", index = 2)]
    job: Option<Prefix>,

    /// One JSON object a line, at the end: the job as `lariat jobs` tells it, with stdout and stderr
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    part: Part,

    #[command(flatten)]
    pub(super) whom: Whom,
}

/// What is read of a job, and how patiently.
#[derive(Clone, clap::Args)]
struct Part {
    /// Begin this many lines before the end, instead of at the beginning
    #[arg(long, value_name = "N")]
    tail: Option<u64>,
}

#[derive(clap::Args)]
#[command(after_help = "\
A detached job's stdout and stderr are kept apart, and so they come: each to its own stream here.
The newest 64 MiB of each are kept (agent.toml: jobs.output), for days after the job's end
(jobs.keep). Of several hosts, those without such a job are passed over, and lines have their host
before them.

Examples:
  lariat logs web1
  lariat logs web1 3f2a --tail 20
  lariat logs web1 3f2a -f | grep -i error
  lariat logs all 3f2a
  lariat logs @web -f
  lariat logs @web --json | jq -r .stdout")]
pub(crate) struct Args {
    /// Go on until the job has ended
    #[arg(short, long)]
    follow: bool,

    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    if args.common.whom.plain()?.is_none() {
        return many::run(args, context);
    }
    read(&args.common, args.follow, context, "logs")?;
    Ok(ExitCode::SUCCESS)
}

impl Common {
    fn wish(&self) -> Wish {
        Wish { prefix: self.job.clone(), unnamed: Unnamed::Newest }
    }
}

/// Reads the output of one host's job to its end, or to the job's, and gives what has become of it;
/// nothing if no host is left to be tried again.
pub(super) fn read(
    args: &Common,
    follow: bool,
    context: &Context,
    verb: &'static str,
) -> Result<Option<State>, CliError> {
    let host = args.whom.plain()?;
    let read = block_on(async {
        let found = jobs::find(&args.whom, args.wish(), context, verb).await?;
        let Some(Found { handle, wish, code: _ }) = found else { return Ok(None) };
        let name = handle.name();
        let on = format!("{verb} on {name}");
        let before = |error| CliError::from(error).before(&format!("{verb} on"));
        let listed = jobs::list(&handle, wish.prefix.as_ref(), args.whom.timeout).await;
        let (session, listed) = listed.map_err(before)?;
        let job = wish.one_of(name, listed).map_err(|error| error.during(&on))?;
        if follow && !job.detached {
            session.leave().await;
            return followed::read(&handle, &job, args.json).await.map(Some);
        }
        let lost = |what: String| output::error(&format!("{on}: {what}"));
        if args.json {
            let log = Log::new(Capture::default(), Capture::default());
            let now_ms = session.welcome.time_ms;
            let state = args.part.read(&log, &handle, session, (&job, follow), lost).await;
            let state = state.map_err(before)?;
            output::bytes(&object(name, &Job { state, ..job }, now_ms, log.into_outputs())?)?;
            return Ok(Some(state));
        }
        let local = |error| CliError::from(error).during("write output");
        let stdout = LocalOutput::stdout().map_err(local)?;
        let stderr = LocalOutput::stderr().map_err(local)?;
        let log = Log::new(stdout, stderr);
        let state = args.part.read(&log, &handle, session, (&job, follow), lost).await;
        state.map(Some).map_err(before)
    });
    jobs::failed_as(args.json, host.as_ref(), read)
}

/// A job, as it was at this time of its host, and what it wrote, as an object.
fn object(
    host: &HostName,
    job: &Job,
    now_ms: u64,
    (stdout, stderr): (Capture, Capture),
) -> Result<Vec<u8>, CliError> {
    let (stdout, stderr) = (stdout.read()?, stderr.read()?);
    let output = Captured::streams(&stdout, &stderr);
    json::line(&LogsResult { job: jobs::object(host, job, now_ms), output })
}

impl Part {
    /// Reads a job's output on this connection and those after it; tells what was not kept.
    async fn read<O: AsyncWrite + Unpin, E: AsyncWrite + Unpin>(
        &self,
        log: &Log<O, E>,
        handle: &HostHandle,
        session: Session,
        (job, follow): (&Job, bool),
        lost: impl Fn(String),
    ) -> Result<State, Failed> {
        let wanted = Wanted {
            job: job.job,
            start: self.tail.map_or(Start::Beginning, Start::Lines),
            follow,
        };
        let short = jobs::short(job);
        let lost = |stream: &str, bytes: u64| {
            lost(format!("{bytes} bytes of {stream} of job {short} are not kept"));
        };
        let read = log.read(handle, Some(session), &wanted, lost).await;
        read.map_err(|error| match error {
            LogsError::Local(error) => {
                Failed { end: End::Errored, error: CliError::stdout(&error) }
            }
            LogsError::Connect(error) => error.into(),
            LogsError::Broken(error) => Failed::broken(error, handle),
        })
    }
}
