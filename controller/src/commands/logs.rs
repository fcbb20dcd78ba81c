//! `lariat logs` and `lariat attach`: what a detached job has written, and writes.

use std::process::ExitCode;
use std::time::Duration;

use lariat_common::protocol::job::{Start, State};
use lariat_common::units::parse_duration;

use crate::context::Context;
use crate::error::CliError;
use crate::jobs::{self, Prefix, Unnamed};
use crate::output;
use crate::reach::ReachOptions;
use crate::run::{Log, LogsError, Wanted};
use crate::runtime::block_on;
use crate::stdio::LocalOutput;
use crate::target::Targets;

/// What both verbs take.
#[derive(clap::Args)]
pub(super) struct Common {
    /// Which host
    #[arg(value_name = "TARGET")]
    target: Targets,

    /// Which job: its id or the beginning of it [default: the newest detached one]
    #[arg(value_name = "JOB")]
    job: Option<Prefix>,

    /// Begin this many lines before the end, instead of at the beginning
    #[arg(long, value_name = "N")]
    tail: Option<u64>,

    /// How long a broken connection may stay broken before it is given up
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = parse_duration)]
    reconnect: Duration,

    #[command(flatten)]
    connect: ReachOptions,
}

#[derive(clap::Args)]
#[command(after_help = "\
A detached job's stdout and stderr are kept apart, and so they come: each to its own stream here. The
newest 64 MiB of each are kept (agent.toml: jobs.output), for days after the job's end (jobs.keep).

Examples:
  lariat logs web1
  lariat logs web1 3f2a --tail 20
  lariat logs web1 3f2a -f | grep -i error")]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,

    /// Go on until the job has ended
    #[arg(short, long)]
    follow: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    read(&args.common, args.follow, context, "logs")?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a job's output to its end, or to the job's, and gives what has become of it.
pub(super) fn read(
    args: &Common,
    follow: bool,
    context: &Context,
    verb: &str,
) -> Result<State, CliError> {
    let reach = jobs::reach(context, &args.target, &args.connect)?;
    let name = &reach.peer.name;
    let on = format!("{verb} on {name}");
    block_on(async {
        let (session, listed) = jobs::list(&reach, args.job.as_ref()).await?;
        let job = jobs::choose(name, &listed, args.job.as_ref(), Unnamed::Newest)
            .map_err(|error| error.during(&on))?;
        let local = |error| CliError::from(error).during("write output");
        let stdout = LocalOutput::stdout().map_err(local)?;
        let stderr = LocalOutput::stderr().map_err(local)?;
        let wanted = Wanted {
            job: job.job,
            start: args.tail.map_or(Start::Beginning, Start::Lines),
            follow,
            reconnect: args.reconnect,
        };
        let short = jobs::short(&job);
        let lost = |stream: &str, bytes: u64| {
            output::error(&format!("{on}: {bytes} bytes of {stream} of job {short} are not kept"));
        };
        let read = Log::new(stdout, stderr).read(&reach, session, &wanted, lost).await;
        read.map_err(|error| match error {
            LogsError::Local(error) => CliError::stdout(&error),
            error @ LogsError::Connect(_) => CliError::from(error).before(&format!("{verb} on")),
            error @ LogsError::Broken(_) => {
                CliError::from(error).during(format!("{on} ({})", reach.peer.address))
            }
        })
    })
}
