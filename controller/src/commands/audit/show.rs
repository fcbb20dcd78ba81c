//! `lariat audit show`: the lines of hosts' records, for people or as they are.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use lariat_base::clock::{milliseconds, rfc3339};
use lariat_base::escape::escape;
use lariat_base::name::HostName;
use lariat_base::units::parse_duration;
use lariat_client::AuditPart;
use lariat_wire::protocol::audit::AuditStart;
use serde_json::Value;

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{Ended, Failed, FanoutOptions, HostContext, HostWork, Verb};
use crate::fleet;
use crate::output::json;
use crate::signal_name::signal_name;
use crate::target::{self, Targets};

/// The longest line that is shown, in bytes.
const MAX_LINE: usize = 256 * 1024;

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

    /// Only what this key did: its label or id
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
        let (mut pending, mut broken) = (Vec::new(), None);
        let each = async |part: AuditPart<'_>| {
            let AuditPart::Bytes(bytes) = part else { return ControlFlow::Continue(()) };
            outlet.room().await;
            pending.extend_from_slice(bytes);
            let whole = pending.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
            let rest = pending.split_off(whole);
            let shown = self.shown(handle.name(), &pending, since.as_deref());
            pending = rest;
            let put = if shown.is_empty() { Ok(()) } else { outlet.put(&shown) };
            match put {
                Ok(()) if pending.len() <= MAX_LINE => ControlFlow::Continue(()),
                Ok(()) => {
                    broken = Some(CliError::new("its record has a line that is too long"));
                    ControlFlow::Break(())
                }
                Err(error) => {
                    broken = Some(error);
                    ControlFlow::Break(())
                }
            }
        };
        let read = handle.read_audit(start, each).await;
        read.map_err(|error| Failed::from(error).before("audit show of"))?;
        broken.map_or(Ok(()), |error| {
            Err(error.during(format!("audit show of {}", handle.name())).into())
        })
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
    fn shown(&self, host: &HostName, lines: &[u8], since: Option<&str>) -> Vec<u8> {
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
            if !self.is_wanted(&value, since) {
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

    fn is_wanted(&self, line: &Value, since: Option<&str>) -> bool {
        let text = |field: &str| line[field].as_str();
        let is_late = since.is_none_or(|since| text("time").is_some_and(|time| time >= since));
        let is_keys = self.key.as_deref().is_none_or(|key| {
            text("label") == Some(key) || text("key") == Some(key) || text("owner") == Some(key)
        });
        is_late && is_keys
    }
}

/// A line of this host's record. One that says that it is of another host would pass for that host's.
fn read(host: &HostName, line: &[u8]) -> Option<Value> {
    let value = serde_json::from_slice::<Value>(line).ok()?;
    let is_own = value.get("host").is_none_or(|of| of.as_str() == Some(host.as_str()));
    (is_own && line.starts_with(b"{\"")).then_some(value)
}

/// A line for people: when, who, what, and how it ended.
fn told(line: &Value) -> String {
    let text = |field: &str| line[field].as_str().map(|text| escape(text.as_bytes()));
    let number = |field: &str| line[field].as_u64();
    let words = |field: &str| {
        let words = line[field].as_array()?.iter().map(|word| word.as_str().unwrap_or_default());
        Some(words.map(|word| escape(word.as_bytes())).collect::<Vec<_>>().join(" "))
    };
    let mut told = vec![text("time").unwrap_or_default()];
    told.extend(text("label"));
    told.extend(text("event"));
    told.extend(text("request"));
    told.extend(text("target"));
    told.extend(text("user").map(|user| format!("as {user}")));
    told.extend(text("path").or_else(|| words("argv")).map(|what| format!("[{what}]")));
    let mut ends = Vec::new();
    ends.extend(number("exit").map(|exit| format!("exit {exit}")));
    let signal = number("signal").and_then(|signal| u8::try_from(signal).ok());
    ends.extend(signal.map(signal_name));
    ends.extend(text("rule").map(|rule| format!("rule {rule}")));
    ends.extend(text("error"));
    ends.extend(number("count").map(|count| format!("{count} more")));
    ends.extend(number("files").map(|files| format!("{files} files")));
    ends.extend(number("bytes").map(|bytes| format!("{bytes} bytes")));
    ends.extend(line["seconds"].as_f64().map(|seconds| format!("{seconds:.3} s")));
    let told = told.join(" ");
    if ends.is_empty() { told } else { format!("{told}: {}", ends.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_did_what_and_how_it_ended() {
        let line = r#"{"seq":9,"time":"2026-01-31T00:00:00.000Z","event":"ended","label":"alice@box","request":"run","user":"www","argv":["/bin/sh","-c","ls\u001b[2J"],"exit":3,"bytes":7,"seconds":0.25}"#;
        insta::assert_snapshot!(told(&serde_json::from_str(line).unwrap()), @r"2026-01-31T00:00:00.000Z alice@box ended run as www [/bin/sh -c ls\x1b[2J]: exit 3, 7 bytes, 0.250 s");
        let line = r#"{"seq":2,"time":"T","event":"started"}"#;
        insta::assert_snapshot!(told(&serde_json::from_str(line).unwrap()), @"T started");
    }

    #[test]
    fn no_host_can_show_a_line_of_another() {
        let lines = b"{\"seq\":1,\"host\":\"web1\"}\n{\"seq\":2,\"host\":\"web2\"}\n5\n{}\n [1]\n {\"seq\":3}\n";
        let showing = Showing { since: None, key: None, json: true, is_prefixed: true };
        let shown = showing.shown(&"web1".parse().unwrap(), lines, None);
        assert_eq!(shown, b"{\"host\":\"web1\",\"seq\":1,\"host\":\"web1\"}\n");
        let showing = Showing { json: false, ..showing };
        let shown = showing.shown(&"web1".parse().unwrap(), lines, None);
        assert_eq!(String::from_utf8(shown).unwrap().matches("web1: (no line of").count(), 5);
    }

    #[test]
    fn lines_are_chosen_by_key_and_by_time() {
        let lines = b"{\"seq\":1,\"time\":\"2\",\"label\":\"a\"}\n{\"seq\":2,\"time\":\"4\",\"key\":\"b\"}\nx\n";
        let show = |key: Option<&str>, since: Option<&str>, json| {
            let showing =
                Showing { since: None, key: key.map(str::to_owned), json, is_prefixed: false };
            String::from_utf8(showing.shown(&"web1".parse().unwrap(), lines, since)).unwrap()
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
