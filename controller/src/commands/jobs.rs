//! `lariat jobs`: the jobs on a host, those that have ended and are kept included.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use lariat_common::escape::escape;
use lariat_common::name::HostName;
use lariat_common::protocol::exec::End;
use lariat_common::protocol::job::{Job, State};

use crate::context::Context;
use crate::error::{CliError, EXIT_FAILURE};
use crate::jobs::{self, Prefix, command, short, state};
use crate::output;
use crate::output::json::{JobResult, object};
use crate::reach::ReachOptions;
use crate::runtime::block_on;
use crate::target::Targets;

#[derive(clap::Args)]
#[command(after_help = "\
Shows the jobs of your key, the oldest first: detached ones, which are kept for days after their end
(agent.toml: jobs.keep), and those that somebody runs or that wait for their controller to come back.

Examples:
  lariat jobs web1
  lariat jobs web1 --json | jq -r 'select(.state == \"running\") | .job'")]
pub(crate) struct Args {
    /// Which host
    #[arg(value_name = "TARGET")]
    target: Targets,

    /// Only the jobs whose ids begin like this
    #[arg(value_name = "JOB")]
    job: Option<Prefix>,

    /// One JSON object a line: host, job, state, exit, signal, detached, user, command, started, seconds
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ReachOptions,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let host = &jobs::one_host(&args.target)?.host;
    let listed = jobs::reach(context, &args.target, &args.connect)
        .and_then(|reach| {
            block_on(async {
                let (mut session, listed) = jobs::list(&reach, args.job.as_ref()).await?;
                // Whether the agent hears that we leave changes nothing.
                let _ = session.link.writer.finish().await;
                Ok((listed, session.welcome.time_ms))
            })
        })
        .map_err(|error| error.during("jobs"));
    let (listed, now_ms) = match listed {
        Err(error) if args.json => {
            object(&JobResult::failed(host, error.line()))?;
            return Ok(ExitCode::from(EXIT_FAILURE));
        }
        listed => listed?,
    };
    if args.json {
        for job in &listed {
            object(&result(host, job, now_ms))?;
        }
    } else if listed.is_empty() {
        output::note(&format!("no jobs on {host}"));
    } else {
        output::bytes(table(&listed, now_ms).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn result<'a>(host: &'a HostName, job: &'a Job, now_ms: u64) -> JobResult<'a> {
    let (name, end) = match job.state {
        State::Running => ("running", None),
        State::Ended(end) => ("ended", Some(end)),
        State::Died { .. } => ("died", None),
    };
    let exit = end.filter(|end| !matches!(end, End::NotRun(_))).map(End::status);
    let signal = match end {
        Some(End::Signaled(signal)) => Some(signal),
        _ => None,
    };
    JobResult {
        host,
        job: Some(job.job.to_string()),
        state: Some(name),
        exit,
        signal,
        detached: job.kept,
        user: job.user.as_deref(),
        command: &job.command,
        started: Some(job.began_ms / 1000),
        seconds: lasted(job, now_ms).map(|time| time.as_secs_f64()),
        error: None,
    }
}

/// How long a job has run, or ran; of one that died nobody knows.
fn lasted(job: &Job, now_ms: u64) -> Option<Duration> {
    let end = match job.state {
        State::Running => Some(now_ms),
        State::Ended(_) => job.ended_ms,
        State::Died { .. } => None,
    };
    end.map(|end| Duration::from_millis(end.saturating_sub(job.began_ms)))
}

fn table(jobs: &[Job], now_ms: u64) -> String {
    let rows: Vec<[String; 5]> = jobs
        .iter()
        .map(|job| {
            let age = Duration::from_millis(now_ms.saturating_sub(job.began_ms));
            let user = job.user.iter().map(|user| format!("{}: ", escape(user.as_bytes())));
            let mut shown = user.chain([command(job)]).collect::<String>();
            if !job.kept {
                shown.push_str("  (not detached)");
            }
            let took = lasted(job, now_ms).map_or("?".to_owned(), span);
            [short(job), state(job.state), span(age), took, shown]
        })
        .collect();
    let headings = ["JOB", "STATE", "STARTED", "TOOK", "COMMAND"];
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].len())
            .max()
            .unwrap_or_default()
            .max(headings[column].len())
    };
    let widths = [0, 1, 2, 3].map(width);
    let mut text = String::new();
    let mut line = |cells: [&str; 5]| {
        let columns = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}  "));
        let line = columns.chain([cells[4].to_owned()]).collect::<String>();
        writeln!(text, "{}", line.trim_end()).expect("a String takes what is written to it");
    };
    line(headings);
    rows.iter().for_each(|row| line(row.each_ref().map(String::as_str)));
    text
}

/// A time in its two largest units.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use lariat_common::name::JobId;

    use super::*;

    #[test]
    fn a_table_of_what_there_is() {
        let job = |id, kept, began_ms, ended_ms, user: Option<&str>, command: &str, state| Job {
            job: JobId([id; 16]),
            kept,
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
        insta::assert_snapshot!(table(&jobs, 90_061_000), @r"
        JOB           STATE               STARTED  TOOK   COMMAND
        1d1d1d1d1d1d  exit 3              1d01h    7s     tar -c /srv
        2e2e2e2e2e2e  died with the host  1d01h    ?      www: make
        3f3f3f3f3f3f  running             1m01s    1m01s  sleep 1  (not detached)
        ");
    }
}
