//! `lariat jobs`: the jobs on hosts, those that have ended and are kept included.

mod many;

use std::process::ExitCode;
use std::time::Duration;

use lariat_base::escape::escape;
use lariat_client::HostHandle;
use lariat_wire::protocol::job::Job;

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::Failed;
use crate::jobs::{self, Prefix, Unnamed, Whom, Wish, command, lasted, short, span, state};
use crate::output;
use crate::output::json::object;
use crate::output::table::table;
use crate::runtime::block_on;

/// What a table says of a job.
const HEADINGS: [&str; 5] = ["JOB", "STATE", "STARTED", "TOOK", "COMMAND"];

#[derive(clap::Args)]
#[command(after_help = "\
Shows the jobs of your key, the oldest first: detached ones, which are kept for days after their end
(agent.toml: jobs.keep), and those that somebody runs or that wait for their controller to return.

Examples:
  lariat jobs web1
  lariat jobs all
  lariat jobs all 3f2a
  lariat jobs @web --json | jq -r 'select(.state == \"running\") | \"\\(.host) \\(.job)\"'")]
pub(crate) struct Args {
    /// Only the jobs whose ids begin like this
    #[arg(value_name = "JOB", index = 2)]
    job: Option<Prefix>,

    /// One JSON object a line: host, job, state, exit, signal, detached, user, command, started, seconds
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    whom: Whom,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { whom, job, json } = args;
    let Some(host) = whom.plain()? else { return many::run(args, context) };
    let told = whom.handle(&host, context).and_then(|handle| {
        let Some(handle) = handle else { return Ok(None) };
        let told = block_on(async { Ok(ask(&handle, job.as_ref(), whom.timeout).await?) })?;
        if told.jobs.is_empty() && job.is_some() {
            return Err(args.wish().none_on(&host).during(format!("on {host}")));
        }
        Ok(Some(told))
    });
    let told = told.map_err(|error| error.during("jobs"));
    let Some(HostJobs { jobs, now_ms }) = jobs::failed_as(*json, Some(&host), told)? else {
        return Ok(ExitCode::SUCCESS);
    };
    if *json {
        for job in &jobs {
            object(&jobs::object(&host, job, now_ms))?;
        }
    } else if jobs.is_empty() {
        output::note(&format!("no jobs on {host}"));
    } else {
        let rows = jobs.iter().map(|job| cells(job, now_ms));
        output::bytes(table(&HEADINGS, rows).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// The job that is asked for, if one is.
    fn wish(&self) -> Wish {
        Wish { prefix: self.job.clone(), unnamed: Unnamed::Newest }
    }
}

/// What a host has told.
struct HostJobs {
    jobs: Vec<Job>,
    /// The time there.
    now_ms: u64,
}

async fn ask(
    handle: &HostHandle,
    job: Option<&Prefix>,
    limit: Option<Duration>,
) -> Result<HostJobs, Failed> {
    let (session, jobs) = jobs::list(handle, job, limit).await?;
    let now_ms = session.welcome.time_ms;
    session.leave().await;
    Ok(HostJobs { jobs, now_ms })
}

/// A job's cells, but for its host; `now_ms` is the time there.
fn cells(job: &Job, now_ms: u64) -> Vec<String> {
    let age = Duration::from_millis(now_ms.saturating_sub(job.began_ms));
    let user = job.user.iter().map(|user| format!("{}: ", escape(user.as_bytes())));
    let mut shown = user.chain([command(job)]).collect::<String>();
    if !job.detached {
        shown.push_str("  (not detached)");
    }
    let took = lasted(job, now_ms).map_or("?".to_owned(), span);
    vec![short(job), state(job.state), span(age), took, shown]
}

#[cfg(test)]
mod tests {
    use lariat_base::name::{JobId, KeyId};
    use lariat_wire::protocol::exec::End;
    use lariat_wire::protocol::job::State;

    use super::*;

    #[test]
    fn a_table_of_what_there_is() {
        let job =
            |id, detached, began_ms, ended_ms, user: Option<&str>, command: &str, state| Job {
                job: JobId([id; 16]),
                key: KeyId([1; 16]),
                detached,
                began_ms,
                ended_ms,
                user: user.map(ToOwned::to_owned),
                command: command.into(),
                state,
            };
        let ended = State::Ended(End::Exited(3));
        let jobs = [
            job(0x1d, true, 0, Some(7_500), None, "tar -c /srv", ended),
            job(0x2e, true, 5_000, None, Some("www"), "make", State::Died { with_host: true }),
            job(0x3f, false, 90_000_000, None, None, "sleep 1", State::Running),
        ];
        insta::assert_snapshot!(table(&HEADINGS, jobs.iter().map(|job| cells(job, 90_061_000))), @r"
        JOB           STATE               STARTED  TOOK   COMMAND
        1d1d1d1d1d1d  exit 3              1d01h    7s     tar -c /srv
        2e2e2e2e2e2e  died with the host  1d01h    ?      www: make
        3f3f3f3f3f3f  running             1m01s    1m01s  sleep 1  (not detached)
        ");
    }
}
