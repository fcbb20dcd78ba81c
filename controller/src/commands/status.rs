//! `lariat status`: how hosts are, and who uses them.

use std::process::ExitCode;
use std::time::Duration;

use lariat_base::escape::escape;
use lariat_base::name::HostName;
use lariat_base::quantity::{percent, span};
use lariat_client::status::{
    Measured, StatusObject, certificate_days, describe, fullest, is_apart, used,
};
use lariat_wire::protocol::status::Report;

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{
    End, Ended, Failed, FanoutOptions, HostContext, HostWork, Screen, Verb, within,
};
use crate::fleet;
use crate::output::json;
use crate::output::table::table;
use crate::target::{self, Targets, natural};

/// The table's columns.
const HEADINGS: [&str; 11] = [
    "HOST", "UP", "LOAD", "MEMORY", "DISK", "SESSIONS", "JOBS", "MOVING", "CERT", "CLOCK",
    "VERSION",
];

#[derive(clap::Args)]
#[command(after_long_help = "\
Of several hosts there is a table with a row for each: how long it has been up, its load of the last minute, the \
memory that is used, its fullest disk, sessions, running jobs, transfers, the days that are left to its \
certificate, and how far its clock is ahead of this machine's. Of one host everything is shown. The key needs the \
verb status; commands and paths of other keys are shown only to one with the verb audit, too.

Examples:
  lariat status web1
  lariat status all
  lariat status @web --json | jq -r 'select(.certificate_days < 30) | .host'")]
pub(crate) struct Args {
    /// Which hosts: web1, web[01-20], 'web*', @tag, all
    #[arg(value_name = "TARGET", long_help = target::HELP)]
    target: Targets,

    /// Print one JSON object per host
    ///
    /// Its fields: host, ok, kind, error, version, kernel, uptime, agent_uptime, processors, load, memory, disk,
    /// sessions, jobs, transfers, limits, unlisted, certificate_days, clock_skew, audit, notes.
    #[arg(long)]
    json: bool,

    /// Time limit per host, such as 30s, 5m or 2h
    ///
    /// It includes the time for connecting. DUR is a number with a unit, ms, s, m, h or d; without a unit it is
    /// seconds.
    #[arg(long, value_name = "DUR", value_parser = fleet::parse_limit)]
    timeout: Option<Duration>,

    #[command(flatten)]
    connect: fleet::ReachOptions,

    #[command(flatten)]
    fanout: FanoutOptions,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { target, json, timeout, connect, fanout } = args;
    let targets = vec![target];
    let verb = Verb { context, connect, fanout, targets, json: *json, recorded: None };
    verb.run(async |hosts| {
        hosts.refuse_users("status", "a status")?;
        Ok(Asking { json: *json, limit: *timeout, are_several: hosts.are_several })
    })
}

struct Asking {
    json: bool,
    limit: Option<Duration>,
    are_several: bool,
}

impl HostWork for Asking {
    type Outcome = Measured;
    /// The table's rows, unless hosts are written as objects.
    type Total = Vec<(HostName, Vec<String>)>;

    async fn on(&self, host: HostContext<'_>) -> Result<Measured, Failed> {
        let handle = &host.handle;
        within(self.limit, handle, async { Ok(Box::pin(handle.status()).await?) }).await
    }

    fn report(
        &self,
        rows: &mut Self::Total,
        host: &HostName,
        outcome: Result<Measured, Failed>,
    ) -> (Vec<u8>, Ended) {
        let told = outcome.map_err(CliError::from).and_then(|measured| {
            let Measured { report, clock_skew } = &measured;
            if self.json {
                let object = StatusObject::of(report, Some(*clock_skew));
                return json::result(host, End::Ok, None, object);
            }
            if self.are_several {
                rows.push((host.clone(), row(host, &measured)));
                return Ok(Vec::new());
            }
            Ok(describe(report, Some(*clock_skew)).into_bytes())
        });
        match told {
            Ok(bytes) => (bytes, Ended::ok()),
            Err(error) => self.failed(self.json, host, error.during("status")),
        }
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        json::failure(host, error, StatusObject::default())
    }

    fn over(&self, rows: &mut Self::Total, screen: &Screen) -> Option<CliError> {
        let mut rows = std::mem::take(rows);
        rows.sort_by(|(a, _), (b, _)| natural(a.as_str(), b.as_str()));
        if !rows.is_empty() {
            let rows = rows.into_iter().map(|(_, cells)| cells);
            screen.stdout.put(table(&HEADINGS, rows).as_bytes());
        }
        None
    }
}

/// A host's cells.
fn row(host: &HostName, Measured { report, clock_skew }: &Measured) -> Vec<String> {
    let skew = if is_apart(*clock_skew) { format!("{clock_skew:+.1}s") } else { "ok".to_owned() };
    vec![
        host.to_string(),
        span(Duration::from_millis(report.up_ms)),
        format!("{:.2}", f64::from(report.load[0]) / 100.0),
        memory(report),
        disk(report),
        report.sessions.len().to_string(),
        report.jobs.len().to_string(),
        report.transfers.len().to_string(),
        format!("{}d", certificate_days(report)),
        skew,
        escape(report.version.as_bytes()),
    ]
}

/// The memory that is used.
fn memory(report: &Report) -> String {
    let used = report.memory.total.saturating_sub(report.memory.available);
    percent(used, report.memory.total).map_or("?".to_owned(), |used| format!("{used}%"))
}

/// The fullest disk.
fn disk(report: &Report) -> String {
    let Some(disk) = fullest(report) else { return "?".to_owned() };
    let used = used(disk).map_or("silent".to_owned(), |used| format!("{used}%"));
    format!("{used} {}", escape(&disk.path))
}

#[cfg(test)]
mod tests {
    use lariat_wire::grown::Grown;
    use lariat_wire::protocol::status::{Disk, MemoryUse};

    use super::*;

    #[test]
    fn a_host_is_a_row() {
        let disk = |path: &str, free, is_silent| {
            Grown(Disk { path: path.into(), size: 100, free, is_silent, ..Disk::default() })
        };
        let mut report = Report {
            version: "0.1.0".to_owned(),
            time_ms: 1000,
            up_ms: 90_061_000,
            load: [142, 0, 0],
            memory: MemoryUse { total: 8, available: 5, ..MemoryUse::default() },
            certificate_end: 86_400 * 30,
            disks: vec![disk("/", 60, false), disk("/a b", 3, false)],
            ..Report::default()
        };
        let shown = |report: &Report, clock_skew| {
            let measured = Measured { report: report.clone(), clock_skew };
            table(&HEADINGS, [row(&"web1".parse().unwrap(), &measured)])
        };
        insta::assert_snapshot!(shown(&report, 0.4), @r"
        HOST  UP     LOAD  MEMORY  DISK      SESSIONS  JOBS  MOVING  CERT  CLOCK  VERSION
        web1  1d01h  1.42  37%     97% /a b  0         0     0       29d   ok     0.1.0
        ");
        report.disks.push(disk("/far", 0, true));
        report.memory = MemoryUse::default();
        insta::assert_snapshot!(shown(&report, -3.04), @r"
        HOST  UP     LOAD  MEMORY  DISK         SESSIONS  JOBS  MOVING  CERT  CLOCK  VERSION
        web1  1d01h  1.42  ?       silent /far  0         0     0       29d   -3.0s  0.1.0
        ");
    }
}
