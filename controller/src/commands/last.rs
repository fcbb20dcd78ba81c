//! `lariat last`: what the newest fan-out did.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lariat_base::escape::escape;
use lariat_base::name::HostName;
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{End, Record, counts};
use crate::output;
use crate::output::json;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  lariat last
  lariat last --json | jq -r 'select(.ok | not) | .host'
  lariat run all --retry-failed -- systemctl restart app")]
pub(crate) struct Args {
    /// One JSON object a line for every host: host, ok, kind, exit, seconds, error; kind is ok, not-started,
    /// unfinished (begun, and its end is not known), failed, timeout, unreachable or refused
    #[arg(long)]
    json: bool,
}

/// One host of it.
#[derive(Serialize)]
struct Row<'a> {
    host: &'a HostName,
    ok: bool,
    kind: &'static str,
    /// The name that `kind` had before.
    end: &'static str,
    #[serde(skip)]
    how: End,
    exit: Option<u8>,
    seconds: Option<f64>,
    error: Option<&'a str>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let home = context.home()?;
    home.require_fleet()?;
    let Some(record) = Record::read(&home)? else {
        output::note("nothing was done on several hosts yet");
        return Ok(ExitCode::SUCCESS);
    };
    let rows = rows(&record);
    if args.json {
        let lines: Vec<Vec<u8>> = rows.iter().map(json::line).collect::<Result<_, _>>()?;
        output::bytes(&lines.concat())?;
    } else {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let ago = Duration::from_secs(now.saturating_sub(record.plan.began));
        output::bytes(told(&record, &rows, ago).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What there is to say of a host that has begun and of no end.
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
        }
    };
    record.plan.hosts.iter().map(row).collect()
}

fn told(record: &Record, rows: &[Row<'_>], ago: Duration) -> String {
    let plan = &record.plan;
    let what = if plan.what.is_empty() { String::new() } else { format!(": {}", plan.what) };
    let mut text = String::new();
    let ends = rows.iter().map(|row| (row.host, row.how));
    let mut line = |line: String| {
        writeln!(text, "{}", escape(line.as_bytes()))
            .expect("a String takes what is written to it");
    };
    line(format!("{} on {}{what}, {} ago", plan.verb, plan.target, rough(ago)));
    line(counts(ends));
    for row in rows.iter().filter(|row| !row.ok) {
        let why = row.error.map(|error| format!(", {error}")).unwrap_or_default();
        line(format!("  {}: {}{why}", row.host, row.how.word()));
    }
    text
}

/// In one unit, as people say it.
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
        insta::assert_snapshot!(told(&record, &rows(&record), Duration::from_secs(300)), @r"
        run on web*: false \x1b[2J, 5 min ago
        1 ok, 1 not started (web4), 1 unfinished (web3), 1 failed (web2)
          web2: failed, exit 3
          web3: unfinished, it was begun, and how it ended is not known
          web4: not started
        ");
        let object = serde_json::to_string(&rows(&record)[1]).unwrap();
        insta::assert_snapshot!(object, @r#"{"host":"web2","ok":false,"kind":"failed","end":"failed","exit":3,"seconds":0.5,"error":"exit 3"}"#);
    }
}
