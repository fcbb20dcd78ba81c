//! `lariat audit show`: the lines of hosts' records, for people or as they are.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use lariat_base::clock::{milliseconds, rfc3339};
use lariat_base::name::HostName;
use lariat_base::units::parse_duration;
use lariat_wire::protocol::audit::AuditStart;
use serde_json::Value;

use super::lines::read_lines;
use super::told::told;
use super::wanted::Wanted;
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{Ended, Failed, FanoutOptions, HostContext, HostWork, Verb};
use crate::fleet;
use crate::output::json;
use crate::target::{self, Targets};

#[derive(clap::Args)]
#[command(after_long_help = "\
Nothing is verified here; see lariat audit verify.

Examples:
  lariat audit show web1 --since 1h
  lariat audit show all --since 1d --key alice@adminbox
  lariat audit show web1 --json | jq -r 'select(.event == \"denied\")'")]
pub(super) struct Args {
    /// Which hosts: web1, web[01-20], 'web*', @tag, all
    #[arg(value_name = "TARGET", long_help = target::HELP)]
    target: Targets,

    /// Only the last DUR, such as 1h or 7d
    ///
    /// By the host's clock. DUR is a number with a unit, ms, s, m, h or d; without a unit it is seconds.
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    since: Option<Duration>,

    /// Only what this key did: its label, or any id of it
    ///
    /// The key to log in with is named before the verb: lariat --key LABEL audit show.
    #[arg(long, value_name = "LABEL")]
    pub(super) key: Option<String>,

    /// Print the lines as they are, with their host
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: fleet::ReachOptions,

    #[command(flatten)]
    fanout: FanoutOptions,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { target, since, key, json, connect, fanout } = args;
    let targets = vec![target];
    let verb = Verb { context, connect, fanout, targets, json: *json, recorded: None };
    verb.run(async |hosts| {
        let (since, key, is_prefixed) = (*since, key.clone(), hosts.are_several);
        Ok(Showing { since, key, json: *json, is_prefixed })
    })
}

struct Showing {
    since: Option<Duration>,
    key: Option<String>,
    json: bool,
    is_prefixed: bool,
}

impl HostWork for Showing {
    type Outcome = ();
    type Total = ();

    async fn on(&self, host: HostContext<'_>) -> Result<(), Failed> {
        let HostContext { handle, outlet, .. } = &host;
        let since = self.since.and_then(|since| SystemTime::now().checked_sub(since));
        let start = since.map_or(AuditStart::Oldest, |time| AuditStart::Since(milliseconds(time)));
        let since = since.map(rfc3339);
        let wanted = match &self.key {
            Some(name) => Some(Wanted::find(handle, name, start).await?),
            None => None,
        };
        let each = async |lines: &[u8]| {
            outlet.room().await;
            let shown = self.shown(handle.name(), lines, since.as_deref(), wanted.as_ref());
            if shown.is_empty() {
                Ok(ControlFlow::Continue(()))
            } else {
                outlet.put(&shown).map(ControlFlow::Continue)
            }
        };
        read_lines(handle, start, each).await
    }

    fn report(
        &self,
        (): &mut (),
        host: &HostName,
        outcome: Result<(), Failed>,
    ) -> (Vec<u8>, Ended) {
        match outcome {
            Ok(()) => (Vec::new(), Ended::ok()),
            Err(failed) => self.failed(self.json, host, failed.into()),
        }
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        json::failure(host, error, json::Nothing {})
    }
}

impl Showing {
    /// The lines among these that are wanted, as they are shown.
    fn shown(
        &self,
        host: &HostName,
        lines: &[u8],
        since: Option<&str>,
        wanted: Option<&Wanted>,
    ) -> Vec<u8> {
        let mut shown = Vec::new();
        for line in lines.split_inclusive(|&b| b == b'\n') {
            let Some(value) = read(host, line) else {
                let what = if self.json {
                    String::new()
                } else {
                    format!("{host}: (no line of a record)\n")
                };
                shown.extend_from_slice(what.as_bytes());
                continue;
            };
            let is_late =
                since.is_none_or(|since| value["time"].as_str().is_some_and(|at| at >= since));
            if !is_late || wanted.is_some_and(|wanted| !wanted.has(&value)) {
                continue;
            }
            if self.json {
                shown.extend_from_slice(format!("{{\"host\":\"{host}\",").as_bytes());
                shown.extend_from_slice(&line[1..]);
            } else {
                if self.is_prefixed {
                    shown.extend_from_slice(format!("{host}: ").as_bytes());
                }
                shown.extend_from_slice(told(&value).as_bytes());
                shown.push(b'\n');
            }
        }
        shown
    }
}

/// A line of this host's record. One that says that it is of another host would pass for that host's.
fn read(host: &HostName, line: &[u8]) -> Option<Value> {
    let value = serde_json::from_slice::<Value>(line).ok()?;
    let is_own = value.get("host").is_none_or(|of| of.as_str() == Some(host.as_str()));
    (is_own && line.starts_with(b"{\"")).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_host_can_show_a_line_of_another() {
        let lines = b"{\"seq\":1,\"host\":\"web1\"}\n{\"seq\":2,\"host\":\"web2\"}\n5\n{}\n [1]\n {\"seq\":3}\n";
        let showing = Showing { since: None, key: None, json: true, is_prefixed: true };
        let shown = showing.shown(&"web1".parse().unwrap(), lines, None, None);
        assert_eq!(shown, b"{\"host\":\"web1\",\"seq\":1,\"host\":\"web1\"}\n");
        let showing = Showing { json: false, ..showing };
        let shown = showing.shown(&"web1".parse().unwrap(), lines, None, None);
        assert_eq!(String::from_utf8(shown).unwrap().matches("web1: (no line of").count(), 5);
    }

    #[test]
    fn lines_are_chosen_by_key_and_by_time() {
        let lines = b"{\"seq\":1,\"time\":\"2\",\"label\":\"a\"}\n{\"seq\":2,\"time\":\"4\",\"key\":\"b\"}\nx\n";
        let show = |name: Option<&str>, since: Option<&str>, json| {
            let showing = Showing { since: None, key: None, json, is_prefixed: false };
            let wanted = name.map(|name| Wanted { name: name.to_owned(), owner: None });
            let host = "web1".parse().unwrap();
            String::from_utf8(showing.shown(&host, lines, since, wanted.as_ref())).unwrap()
        };
        assert_eq!(
            show(Some("a"), None, true),
            "{\"host\":\"web1\",\"seq\":1,\"time\":\"2\",\"label\":\"a\"}\n"
        );
        assert_eq!(
            show(None, Some("3"), true),
            "{\"host\":\"web1\",\"seq\":2,\"time\":\"4\",\"key\":\"b\"}\n"
        );
        assert_eq!(show(Some("b"), Some("5"), false), "web1: (no line of a record)\n");
    }
}
