//! `lariat logs` and `lariat attach`: read the output of a detached job.

mod attached;
mod job_end;
mod reading;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use self::attached::Attached;
use self::reading::Reading;
use crate::context::Context;
use crate::encoding::{Conversion, EncodingOption, HostEncoding};
use crate::error::CliError;
use crate::fanout::Fanout;
use crate::jobs::{self, Found, Prefix, Searched, Unnamed, Whom, Wish};
use crate::runtime::block_on;
use crate::target::Targets;

// Options of logs and attach.
#[derive(clap::Args)]
pub(super) struct Common {
    /// Job id, or its beginning [default: the last one]
    #[arg(value_name = "JOB", index = 2)]
    job: Option<Prefix>,

    /// Print one JSON object per job, at its end
    ///
    /// It is the job as lariat jobs shows it, with stdout and stderr. A host without the job has an object too.
    #[arg(long)]
    json: bool,

    /// Start N lines before the end
    #[arg(long, value_name = "N")]
    tail: Option<u64>,

    #[command(flatten)]
    encoding: EncodingOption,

    #[command(flatten)]
    whom: Whom,
}

#[derive(clap::Args)]
#[command(after_long_help = "\
Each of the job's streams goes to the same stream here. The last 64 MiB of each are kept (agent.toml: \
jobs.output), for days after the job's end (jobs.keep). Of several hosts, those without such a job are skipped, \
and each line begins with its host.

Examples:
  lariat logs web1
  lariat logs web1 3f2a --tail 20
  lariat logs web1 3f2a -f | grep -i error
  lariat logs all 3f2a
  lariat logs @web -f
  lariat logs @web --json | jq -r '.stdout // empty'")]
pub(crate) struct Args {
    /// Follow until the job has ended
    #[arg(short, long)]
    follow: bool,

    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { follow, common } = args;
    common.check("logs")?;
    common.whom.verb(context, common.json).run(async |hosts| {
        common.whom.check(&hosts.chosen)?;
        let several = hosts.are_several.then(|| common.whom.target.clone());
        Ok(Reading { several, ..common.reading("logs", *follow, common.wish()) })
    })
}

impl Common {
    /// Refuses what can't be counted: hosts find lines by a byte, which in UTF-16 may be half of any character.
    fn check(&self, verb: &str) -> Result<(), CliError> {
        let is_utf16 = self.encoding.name.is_some_and(HostEncoding::is_utf16);
        if !is_utf16 || self.tail.is_none() {
            return Ok(());
        }
        let error = CliError::new(format!("{verb}: --tail can't count lines of UTF-16"));
        Err(error.next("read all of it, and pipe it into tail"))
    }

    fn wish(&self) -> Wish {
        Wish { prefix: self.job.clone(), unnamed: Unnamed::Newest, all_keys: self.whom.all_keys }
    }

    fn reading(&self, verb: &'static str, follow: bool, wish: Wish) -> Reading {
        let (tail, json, limit) = (self.tail, self.json, self.whom.timeout);
        let (conversion, first) = (Conversion::new(self.encoding.name), Mutex::default());
        let (several, is_attached) = (None, false);
        Reading { verb, wish, tail, follow, is_attached, json, conversion, limit, several, first }
    }

    /// The work of `attach`.
    fn attached(&self, wish: Wish, several: Option<Targets>) -> Attached {
        Attached(Reading { several, is_attached: true, ..self.reading(ATTACH, true, wish) })
    }
}

const ATTACH: &str = "attach";

/// Follows a job to its end, on each of several hosts that have it, and exits as it does.
pub(super) fn attach(args: &Common, context: &Context) -> Result<ExitCode, CliError> {
    args.check(ATTACH)?;
    let (whom, wish) = (&args.whom, args.wish());
    if whom.target.plain().is_some() || wish.prefix.is_none() {
        // Without an id, each host's newest job.
        return whom.verb(context, args.json).run(async |hosts| {
            whom.check(&hosts.chosen)?;
            Ok(args.attached(wish, hosts.are_several.then(|| whom.target.clone())))
        });
    }
    block_on(async {
        let found = match jobs::find(whom, &wish, context, ATTACH, args.json).await? {
            Searched::Found(found) => found,
            Searched::Over(status) => return Ok(ExitCode::from(status)),
        };
        let Found { fleet, hosts, wish, without, failed } = found;
        jobs::put_without(&without, None, args.json)?;
        let hosts = hosts.into_iter().map(|(chosen, _)| chosen).collect();
        let fanout = Fanout::look(context, hosts, whom.fanout.limits(), args.json)?;
        let work = args.attached(wish, Some(whom.target.clone()));
        let (status, _) = fanout.after(failed).run(fleet, Arc::new(work)).await?;
        Ok(ExitCode::from(status))
    })
}
