//! `lariat logs` and `lariat attach`: what a detached job has written, and writes.

mod reading;

use std::process::ExitCode;

use lariat_wire::protocol::job::State;

use self::reading::Reading;
use crate::context::Context;
use crate::error::CliError;
use crate::fanout;
use crate::jobs::{self, Found, Prefix, Unnamed, Whom, Wish};
use crate::runtime::block_on;

// Options of logs and attach.
#[derive(clap::Args)]
pub(super) struct Common {
    /// Which job: its id or the beginning of it [default: the newest detached one]
    #[arg(value_name = "JOB", index = 2)]
    job: Option<Prefix>,

    /// One JSON object a line, at the end: the job as `lariat jobs` tells it, with stdout and stderr
    #[arg(long)]
    json: bool,

    /// Begin this many lines before the end, instead of at the beginning
    #[arg(long, value_name = "N")]
    tail: Option<u64>,

    #[command(flatten)]
    whom: Whom,
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
    let Args { follow, common } = args;
    common.whom.verb(context, common.json).run(async |hosts| {
        common.whom.check(&hosts.chosen)?;
        let several = hosts.are_several.then(|| common.whom.target.clone());
        Ok(Reading { several, ..common.reading("logs", *follow) })
    })
}

impl Common {
    fn wish(&self) -> Wish {
        Wish { prefix: self.job.clone(), unnamed: Unnamed::Newest }
    }

    fn reading(&self, verb: &'static str, follow: bool) -> Reading {
        let (wish, tail, json, limit) = (self.wish(), self.tail, self.json, self.whom.timeout);
        Reading { verb, wish, tail, follow, json, limit, several: None }
    }
}

/// Follows a job of one host to its end. Returns the exit status of reading it, and what has become of the job;
/// nothing if no host is left to be tried again.
pub(super) fn follow(
    args: &Common,
    context: &Context,
    verb: &'static str,
) -> Result<Option<(u8, Option<State>)>, CliError> {
    block_on(async {
        let found = jobs::find(&args.whom, args.wish(), context, verb).await?;
        let Some(Found { chosen, handle, wish, status: _ }) = found else { return Ok(None) };
        let reading = Reading { wish, ..args.reading(verb, true) };
        let (status, total) = fanout::one(context, &chosen, handle, &reading, args.json).await?;
        Ok(Some((status, total.state)))
    })
}
