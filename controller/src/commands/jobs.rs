//! `lariat jobs`: lists the jobs on hosts, including those that have ended and are kept.

use std::process::ExitCode;
use std::time::Duration;

use lariat_base::date::clock;
use lariat_base::escape::escape;
use lariat_base::name::HostName;
use lariat_base::quantity::span;
use lariat_wire::protocol::job::{Job, State};

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{Ended, Failed, HostContext, HostWork, Screen};
use crate::home::Home;
use crate::jobs::{self, Prefix, Unnamed, Whom, Wish, command, lasted, short, state};
use crate::known_jobs::{self, KnownJob};
use crate::output::json::{self, JobResult};
use crate::output::table::table;
use crate::target::{Targets, natural};

/// The table's columns.
const HEADINGS: [&str; 5] = ["JOB", "STATE", "STARTED", "TOOK", "COMMAND"];

#[derive(clap::Args)]
#[command(after_long_help = "\
Shows the jobs of your key, the oldest first: detached ones, which are kept for days after their end \
(agent.toml: jobs.keep), and those that a controller follows or may return to.

Examples:
  lariat jobs web1
  lariat jobs all
  lariat jobs all 3f2a
  lariat jobs @web --running
  lariat jobs @web --json | jq -r 'select(.state == \"running\") | \"\\(.host) \\(.job)\"'")]
pub(crate) struct Args {
    /// Only jobs whose ids begin with this
    #[arg(value_name = "JOB", index = 2)]
    job: Option<Prefix>,

    /// Only running jobs
    #[arg(long, conflicts_with = "failed")]
    running: bool,

    /// Only jobs that failed
    #[arg(long)]
    failed: bool,

    /// Print one JSON object per job
    ///
    /// Its fields: host, job, key, state, exit, signal, detached, user, command, started, seconds.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    whom: Whom,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { whom, job, running, failed, json } = args;
    let only = match (running, failed) {
        (true, _) => Only::Running,
        (_, true) => Only::Failed,
        _ => Only::All,
    };
    let (verb, limit) = (whom.verb(context, *json), whom.timeout);
    verb.run(async |hosts| {
        whom.check(&hosts.chosen)?;
        let all_keys = whom.all_keys;
        let wish = Wish { prefix: job.clone(), unnamed: Unnamed::Newest, all_keys };
        let several = hosts.are_several.then(|| whom.target.clone());
        let home = context.home().ok().filter(|_| context.local.is_none());
        Ok(Listing { wish, only, several, json: *json, limit, home })
    })
}

/// Which jobs are listed.
#[derive(Clone, Copy)]
enum Only {
    All,
    Running,
    Failed,
}

impl Only {
    fn includes(self, job: &Job) -> bool {
        match self {
            Self::All => true,
            Self::Running => job.state == State::Running,
            Self::Failed => jobs::has_failed(job.state),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::All => "",
            Self::Running => "running ",
            Self::Failed => "failed ",
        }
    }
}

/// The work for each host.
struct Listing {
    /// The requested job, if any.
    wish: Wish,
    only: Only,
    /// The target, if it names several hosts.
    several: Option<Targets>,
    json: bool,
    limit: Option<Duration>,
    /// Where jobs are noted.
    home: Option<Home>,
}

/// A host's answer.
struct HostJobs {
    jobs: Vec<Job>,
    /// The host's current time.
    now_ms: u64,
}

/// The answers of all hosts.
#[derive(Default)]
struct Total {
    /// The table's rows, by host, unless jobs are written as objects.
    rows: Vec<(HostName, Vec<String>)>,
    count: usize,
    /// Jobs that exist, listed or not.
    found: usize,
    /// At least one host has answered.
    has_answer: bool,
}

impl HostWork for Listing {
    type Outcome = HostJobs;
    type Total = Total;

    async fn on(&self, host: HostContext<'_>) -> Result<HostJobs, Failed> {
        let host = &host.handle;
        let (session, jobs) = jobs::list(host, &self.wish, self.limit).await?;
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
            total.found += jobs.len();
            let jobs: Vec<Job> = jobs.into_iter().filter(|job| self.only.includes(job)).collect();
            total.count += jobs.len();
            self.note(host, &jobs);
            if self.json {
                let lines = jobs.iter().map(|job| json::line(&jobs::object(host, job, now_ms)));
                return Ok(lines.collect::<Result<Vec<_>, _>>()?.concat());
            }
            let rows = jobs.iter().map(|job| self.cells(job, now_ms));
            if self.several.is_some() {
                total.rows.extend(rows.map(|cells| (host.clone(), cells)));
                return Ok(Vec::new());
            }
            Ok(if jobs.is_empty() {
                Vec::new()
            } else {
                table(&self.headings(), rows).into_bytes()
            })
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
        let none = total.has_answer && total.count == 0 && !self.json;
        none.then(|| format!("no {}jobs on {host}", self.only.word()))
    }

    fn over(&self, total: &mut Total, screen: &Screen) -> Option<CliError> {
        let rows = std::mem::take(&mut total.rows);
        if !rows.is_empty() {
            screen.stdout.put(all(&self.headings(), rows).as_bytes());
        }
        let is_absent = self.wish.prefix.is_some() && total.has_answer && total.found == 0;
        let target = self.several.as_ref().filter(|_| is_absent);
        target.map(|target| self.wish.none_of(target).during("jobs"))
    }

    fn sum(&self, total: &Total, _: Duration) -> Option<String> {
        let plural = if total.count == 1 { "" } else { "s" };
        Some(format!("{} {}job{plural}", total.count, self.only.word()))
    }
}

impl Listing {
    /// Notes the detached jobs, the newest last.
    fn note(&self, host: &HostName, jobs: &[Job]) {
        let detached = jobs.iter().filter(|job| job.detached);
        let known = detached.map(|job| KnownJob::new(host, job.job, &job.command));
        if let Some(home) = &self.home {
            known_jobs::note(home, &known.collect::<Vec<_>>());
        }
    }

    /// The headings but for the host; the key comes first where there may be several.
    fn headings(&self) -> Vec<&'static str> {
        let key: &[&str] = if self.wish.all_keys { &["KEY"] } else { &[] };
        [key, &HEADINGS].concat()
    }

    fn cells(&self, job: &Job, now_ms: u64) -> Vec<String> {
        let key = job.key.to_string();
        let key = self.wish.all_keys.then(|| key[..KEY_SHOWN].to_owned());
        key.into_iter().chain(cells(job, now_ms)).collect()
    }
}

/// Hexadecimal digits of a key's id that people are shown.
const KEY_SHOWN: usize = 8;

/// The table of all, by host; each host's own order stays.
fn all(headings: &[&str], mut rows: Vec<(HostName, Vec<String>)>) -> String {
    rows.sort_by(|(a, _), (b, _)| natural(a.as_str(), b.as_str()));
    let rows = rows.into_iter().map(|(host, cells)| [vec![host.to_string()], cells].concat());
    table(&[&["HOST"], headings].concat(), rows)
}

/// A job's cells except its host; `now_ms` is the host's time.
fn cells(job: &Job, now_ms: u64) -> Vec<String> {
    let user = job.user.iter().map(|user| format!("{}: ", escape(user.as_bytes())));
    let mut shown = user.chain([command(job)]).collect::<String>();
    if !job.detached {
        shown.push_str("  (not detached)");
    }
    let took = lasted(job, now_ms).map_or("?".to_owned(), span);
    vec![short(job), state(job.state), clock(job.began_ms / 1000, now_ms / 1000), took, shown]
}

#[cfg(test)]
mod tests {
    use lariat_base::name::{JobId, KeyId};
    use lariat_wire::protocol::exec::End;

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
        JOB           STATE               STARTED            TOOK   COMMAND
        1d1d1d1d1d1d  exit 3              1970-01-01 00:00Z  7s     tar -c /srv
        2e2e2e2e2e2e  died with the host  1970-01-01 00:00Z  ?      www: make
        3f3f3f3f3f3f  running             01:00:00Z          1m01s  sleep 1  (not detached)
        ");
    }

    #[test]
    fn hosts_stay_together_in_natural_order() {
        let row = |host: &str, job: &str| {
            (
                host.parse().unwrap(),
                [job, "running", "1s", "1s", "make"].map(ToOwned::to_owned).to_vec(),
            )
        };
        let rows = vec![row("web10", "aa"), row("web2", "dd"), row("web10", "bb")];
        insta::assert_snapshot!(all(&HEADINGS, rows), @r"
        HOST   JOB  STATE    STARTED  TOOK  COMMAND
        web2   dd   running  1s       1s    make
        web10  aa   running  1s       1s    make
        web10  bb   running  1s       1s    make
        ");
    }
}
