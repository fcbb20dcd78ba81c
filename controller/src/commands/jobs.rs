//! `lariat jobs`: the jobs on hosts, those that have ended and are kept included.

use std::process::ExitCode;
use std::time::Duration;

use lariat_base::escape::escape;
use lariat_base::name::HostName;
use lariat_wire::protocol::job::Job;

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{Ended, Failed, HostContext, HostWork, Screen};
use crate::jobs::{self, Prefix, Unnamed, Whom, Wish, command, lasted, short, span, state};
use crate::output::json::{self, JobResult};
use crate::output::table::table;
use crate::target::{Targets, natural};

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
    let (verb, limit) = (whom.verb(context, *json), whom.timeout);
    verb.run(async |hosts| {
        whom.check(&hosts.chosen)?;
        let wish = Wish { prefix: job.clone(), unnamed: Unnamed::Newest };
        let several = hosts.are_several.then(|| whom.target.clone());
        Ok(Listing { wish, several, json: *json, limit })
    })
}

/// Lists jobs.
struct Listing {
    /// The job that is asked for, if one is.
    wish: Wish,
    /// The target, if it names several hosts.
    several: Option<Targets>,
    json: bool,
    limit: Option<Duration>,
}

/// What a host has told.
struct HostJobs {
    jobs: Vec<Job>,
    /// The time there.
    now_ms: u64,
}

/// What hosts have told.
#[derive(Default)]
struct Total {
    /// The table's rows, by host, unless jobs are told as objects.
    rows: Vec<(HostName, Vec<String>)>,
    count: usize,
    /// Any host has answered.
    has_answer: bool,
}

impl HostWork for Listing {
    type Outcome = HostJobs;
    type Total = Total;

    async fn on(&self, host: HostContext<'_>) -> Result<HostJobs, Failed> {
        let host = &host.handle;
        let (session, jobs) = jobs::list(host, self.wish.prefix.as_ref(), self.limit).await?;
        let now_ms = session.welcome.time_ms;
        session.leave().await;
        if jobs.is_empty() && self.wish.prefix.is_some() && self.several.is_none() {
            let name = host.name();
            return Err(self.wish.none_on(name).during(format!("on {name}")).into());
        }
        Ok(HostJobs { jobs, now_ms })
    }

    fn report(
        &self,
        total: &mut Total,
        host: &HostName,
        outcome: Result<HostJobs, Failed>,
    ) -> (Vec<u8>, Ended) {
        let listed = outcome.map_err(CliError::from).and_then(|HostJobs { jobs, now_ms }| {
            total.has_answer = true;
            total.count += jobs.len();
            if self.json {
                let lines = jobs.iter().map(|job| json::line(&jobs::object(host, job, now_ms)));
                return Ok(lines.collect::<Result<Vec<_>, _>>()?.concat());
            }
            let rows = jobs.iter().map(|job| cells(job, now_ms));
            if self.several.is_some() {
                total.rows.extend(rows.map(|cells| (host.clone(), cells)));
                return Ok(Vec::new());
            }
            Ok(if jobs.is_empty() { Vec::new() } else { table(&HEADINGS, rows).into_bytes() })
        });
        match listed {
            Ok(bytes) => (bytes, Ended::ok()),
            Err(error) => self.failed(self.json, host, error.during("jobs")),
        }
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        json::line(&JobResult::failed(host, error))
    }

    fn note(&self, total: &Total, host: &HostName) -> Option<String> {
        (total.has_answer && total.count == 0 && !self.json).then(|| format!("no jobs on {host}"))
    }

    fn over(&self, total: &mut Total, screen: &Screen) -> Option<CliError> {
        let rows = std::mem::take(&mut total.rows);
        if !rows.is_empty() {
            screen.stdout.put(all(rows).as_bytes());
        }
        let is_absent = self.wish.prefix.is_some() && total.has_answer && total.count == 0;
        let target = self.several.as_ref().filter(|_| is_absent);
        target.map(|target| self.wish.none_of(target).during("jobs"))
    }

    fn sum(&self, total: &Total, _: Duration) -> Option<String> {
        let plural = if total.count == 1 { "" } else { "s" };
        Some(format!("{} job{plural}", total.count))
    }
}

/// The table of all, by host; each host's own order stays.
fn all(mut rows: Vec<(HostName, Vec<String>)>) -> String {
    rows.sort_by(|(a, _), (b, _)| natural(a.as_str(), b.as_str()));
    let rows = rows.into_iter().map(|(host, cells)| [vec![host.to_string()], cells].concat());
    table(&[&["HOST"], &HEADINGS[..]].concat(), rows)
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

    #[test]
    fn hosts_are_whole_and_in_the_order_that_people_count_in() {
        let row = |host: &str, job: &str| {
            (
                host.parse().unwrap(),
                [job, "running", "1s", "1s", "make"].map(ToOwned::to_owned).to_vec(),
            )
        };
        let rows = vec![row("web10", "aa"), row("web2", "dd"), row("web10", "bb")];
        insta::assert_snapshot!(all(rows), @r"
        HOST   JOB  STATE    STARTED  TOOK  COMMAND
        web2   dd   running  1s       1s    make
        web10  aa   running  1s       1s    make
        web10  bb   running  1s       1s    make
        ");
    }
}
