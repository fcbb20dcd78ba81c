//! `lariat last`: shows the results of the newest fan-outs.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use lariat_base::clock::seconds;
use lariat_base::date::clock;
use lariat_base::escape::escape;
use lariat_base::name::HostName;
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{End, Record, counts};
use crate::output;
use crate::output::json;
use crate::output::style::Paint;

#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  lariat last
  lariat last -n 5
  lariat last --json | jq -r 'select(.ok | not) | .host'
  lariat run all --retry-failed -- systemctl restart app")]
pub(crate) struct Args {
    /// Print one JSON object per host
    ///
    /// Its fields: host, ok, kind, exit, seconds, error, verb, began. kind is ok, not-started, unfinished (begun, with an
    /// unknown outcome), failed, timeout, unreachable or refused.
    #[arg(long)]
    json: bool,

    /// How many commands, of at most 20 that are kept
    #[arg(short, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(1..))]
    n: u8,
}

/// One host's result.
#[derive(Serialize)]
struct Row<'a> {
    host: &'a HostName,
    ok: bool,
    kind: &'static str,
    /// The former name of `kind`.
    end: &'static str,
    #[serde(skip)]
    how: End,
    exit: Option<u8>,
    seconds: Option<f64>,
    error: Option<&'a str>,
    verb: &'a str,
    /// When the fan-out began, in seconds since 1970.
    began: u64,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let home = context.home()?;
    home.require_fleet()?;
    let records = Record::read_newest(&home, args.n.into())?;
    if records.is_empty() {
        output::note("nothing was done on several hosts yet");
    }
    let now = seconds(SystemTime::now());
    for (number, record) in records.iter().enumerate() {
        let rows = rows(record);
        let text = if args.json {
            rows.iter().map(json::line).collect::<Result<Vec<_>, _>>()?.concat()
        } else {
            let blank = if number > 0 { "\n" } else { "" };
            format!("{blank}{}", told(record, &rows, now)).into_bytes()
        };
        output::bytes(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Shown for a host that began and has no recorded end.
const UNFINISHED: &str = "it was begun, and how it ended is not known";

fn rows(record: &Record) -> Vec<Row<'_>> {
    let row = |host| {
        let (end, entry) = (record.end(host), record.entries.get(host));
        let error = entry.and_then(|entry| entry.error.as_deref());
        Row {
            host,
            ok: end == End::Ok,
            kind: end.kind(),
            end: end.kind(),
            how: end,
            exit: entry.and_then(|entry| entry.exit),
            seconds: entry.map(|entry| entry.seconds),
            error: error.or((end == End::Unfinished).then_some(UNFINISHED)),
            verb: &record.plan.verb,
            began: record.plan.began,
        }
    };
    record.plan.hosts.iter().map(row).collect()
}

fn told(record: &Record, rows: &[Row<'_>], now: u64) -> String {
    let plan = &record.plan;
    let what = if plan.what.is_empty() { String::new() } else { format!(": {}", plan.what) };
    let mut text = String::new();
    let ends = rows.iter().map(|row| (row.host, row.how));
    let mut line = |line: String| {
        writeln!(text, "{}", escape(line.as_bytes()))
            .expect("a String takes what is written to it");
    };
    let ago = rough(Duration::from_secs(now.saturating_sub(plan.began)));
    let began = clock(plan.began, now);
    line(format!("{began}, {ago} ago: {} on {}{what}", plan.verb, plan.target));
    if let Some(job) = &plan.job {
        line(format!("job {job}"));
    }
    line(counts(ends, Paint(false)));
    for row in rows.iter().filter(|row| !row.ok) {
        let why = row.error.map(|error| format!(", {error}")).unwrap_or_default();
        line(format!("  {}: {}{why}", row.host, row.how.word()));
    }
    text
}

/// A time in one rounded unit.
fn rough(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fanout::{Entry, Plan};

    #[test]
    fn who_did_not_and_why() {
        let hosts = ["web1", "web2", "web3", "web4"].map(|host| host.parse().unwrap()).to_vec();
        let plan = Plan::now("run", "false \x1b[2J".into(), "web*".into(), hosts.clone());
        let plan = Plan { began: 1_795_810_556, job: Some("07".repeat(16)), ..plan };
        let entry = |host: &HostName, end, exit, error: Option<&str>| {
            let error = error.map(ToOwned::to_owned);
            (host.clone(), Entry { host: host.clone(), end, exit, seconds: 0.5, error })
        };
        let entries = [
            entry(&hosts[0], End::Ok, Some(0), None),
            entry(&hosts[1], End::Failed, Some(3), Some("exit 3")),
        ];
        let begun = hosts[..3].iter().cloned().collect();
        let record = Record { plan, begun, entries: entries.into() };
        insta::assert_snapshot!(told(&record, &rows(&record), 1_795_810_556 + 300), @r"
        20:15:56Z, 5 min ago: run on web*: false \x1b[2J
        job 07070707070707070707070707070707
        1 ok, 1 not started (web4), 1 unfinished (web3), 1 failed (web2)
          web2: failed, exit 3
          web3: unfinished, it was begun, and how it ended is not known
          web4: not started
        ");
        let object = serde_json::to_string(&rows(&record)[1]).unwrap();
        insta::assert_snapshot!(object, @r#"{"host":"web2","ok":false,"kind":"failed","end":"failed","exit":3,"seconds":0.5,"error":"exit 3","verb":"run","began":1795810556}"#);
    }
}
