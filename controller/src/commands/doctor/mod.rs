//! `lariat doctor`: looks for what is wrong, or soon will be, on this machine and on hosts.

mod here;
mod judge;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lariat_base::clock::signed_seconds;
use lariat_base::escape::escape;
use lariat_base::lock::lock;
use lariat_base::name::{EnrolmentId, HostName};
use lariat_client::{Broken, HostHandle, Session};
use lariat_wire::link::LinkError;
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::doctor::{Buffers, Examine, Examined, Finding, Grade};
use lariat_wire::protocol::session::{Ping, Pong};
use lariat_wire::protocol::verb::Verb as KeyVerb;
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{End, Ended, Failed, FanoutOptions, HostContext, HostWork, Verb, within};
use crate::fleet;
use crate::host_keys::{self, HostKeys};
use crate::inventory::Inventory;
use crate::key_hosts::{Enrolments, enrolled};
use crate::output::{self, json};
use crate::revocations::{PendingHost, Revocations, SeenKeys, ids, remember};
use crate::status::SOME_FAILED;
use crate::target::{self, Targets};

#[derive(clap::Args)]
#[command(after_long_help = "\
Each finding is one line: ok, warn or bad, the machine, what was found, and what to do. Without a target, only \
this machine is examined. On a host, the key needs the verb status; with keys, it looks for revoked keys too. The exit status is 1 if something is bad.

Examples:
  lariat doctor
  lariat doctor all | grep -v ^ok
  lariat doctor web1 --json | jq 'select(.grade == \"bad\")'")]
pub(crate) struct Args {
    /// Which hosts: web1, web[01-20], 'web*', @tag, all
    #[arg(value_name = "TARGET", long_help = target::HELP)]
    target: Option<Targets>,

    /// Print one JSON object per finding
    ///
    /// Its fields: host (null for this machine), grade, text, todo.
    #[arg(long)]
    json: bool,

    /// Time limit per host, such as 30s, 5m or 2h
    ///
    /// It includes the time for connecting. DUR is a number with a unit, ms, s, m, h or d; without a unit it is
    /// seconds.
    #[arg(long, value_name = "DUR", value_parser = fleet::parse_limit, default_value = "30s")]
    timeout: Duration,

    #[command(flatten)]
    connect: fleet::ReachOptions,

    #[command(flatten)]
    fanout: FanoutOptions,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { target, json, timeout, connect, fanout } = args;
    let mut status = ExitCode::SUCCESS;
    // With --local there is no fleet.
    if context.local.is_none() {
        let findings = here::examine(context, connect);
        output::bytes(&told(None, &findings, *json)?)?;
        if findings.iter().any(|finding| finding.grade == Grade::Bad) {
            status = ExitCode::from(SOME_FAILED);
        }
    }
    let Some(target) = target else { return Ok(status) };
    if let Some(chosen) = target.plain()
        && let Err(error) = is_known(context, &chosen.host)
    {
        // There is no verdict on such a host.
        let error = error.during("doctor");
        if *json {
            output::bytes(&told(Some(&chosen.host), &[here::bad(&error)], true)?)?;
            return Err(error.quiet());
        }
        return Err(error);
    }
    let targets = vec![target];
    let verb = Verb { context, connect, fanout, targets, json: *json, recorded: None };
    let home = if context.local.is_none() { Some(context.home()?) } else { None };
    let seen = Arc::new(Mutex::new(SeenKeys::new()));
    let also = Arc::clone(&seen);
    let hosts = verb.run(async |hosts| {
        hosts.refuse_users("doctor", "what is found on a machine")?;
        let (revocations, enrolled) = match &home {
            // What was pending at these hosts is done by now.
            Some(home) => (Revocations::load(home)?, enrolled(&Inventory::load(home)?)),
            None => (Revocations::default(), Enrolments::new()),
        };
        let enrolled = enrolled.into_iter().collect();
        Ok(Doctor { json: *json, limit: *timeout, revocations, enrolled, seen: also })
    });
    if let Some(home) = &home {
        remember(home, &std::mem::take(&mut *lock(&seen)))?;
    }
    let hosts = hosts?;
    Ok(if hosts == ExitCode::SUCCESS { status } else { hosts })
}

/// Refuses a host that is not in the fleet, or with `--local` not this one.
fn is_known(context: &Context, host: &HostName) -> Result<(), CliError> {
    match &context.local {
        Some(own) => own.check(host),
        None => Inventory::load(&context.home()?)?.host(host).map(drop),
    }
}

/// Round trips of which the shortest counts: the others had to wait for a busy machine.
const TRIPS: u64 = 4;

struct Doctor {
    json: bool,
    limit: Duration,
    revocations: Revocations,
    enrolled: BTreeMap<HostName, EnrolmentId>,
    /// The keys of hosts on which one was revoked from here.
    seen: Arc<Mutex<SeenKeys>>,
}

impl HostWork for Doctor {
    type Outcome = Vec<Finding>;
    type Total = ();

    async fn on(&self, host: HostContext<'_>) -> Result<Vec<Finding>, Failed> {
        let examined = Box::pin(self.examine(&host.handle, &host.chosen.host));
        within(Some(self.limit), &host.handle, examined).await
    }

    fn report(
        &self,
        (): &mut (),
        host: &HostName,
        outcome: Result<Vec<Finding>, Failed>,
    ) -> (Vec<u8>, Ended) {
        let mut ended = Ended::ok();
        let findings = outcome.unwrap_or_else(|failed| vec![here::bad(&CliError::from(failed))]);
        if findings.iter().any(|finding| finding.grade == Grade::Bad) {
            let said = Some("bad".to_owned());
            ended = Ended { end: End::Failed, said, status: Some(SOME_FAILED), ..ended };
        }
        match told(Some(host), &findings, self.json) {
            Ok(told) => (told, ended),
            Err(error) => (Vec::new(), Ended::failed(End::Errored, error)),
        }
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        told(Some(host), &[here::bad(error)], true)
    }
}

async fn receive(Session { link, .. }: &mut Session) -> Result<Examined, Broken> {
    let frame = link.next().await?.ok_or(LinkError::Cut)?;
    match frame.kind {
        Kind::Examined => Ok(link.reader.message()?),
        Kind::Failed => Err(Broken::Failed(link.reader.message()?)),
        other => Err(LinkError::Unexpected(other).into()),
    }
}

impl Doctor {
    /// Examines a host from both ends.
    async fn examine(&self, handle: &HostHandle, host: &HostName) -> Result<Vec<Finding>, Failed> {
        let (session, round_trip) = handle
            .ask(&Ping { nonce: 0 }, async |session| {
                session.answer::<Pong>().await?;
                let mut least = Duration::MAX;
                for nonce in 1..=TRIPS {
                    let began = Instant::now();
                    session.link.send(&Ping { nonce }).await?;
                    session.answer::<Pong>().await?;
                    least = least.min(began.elapsed());
                }
                Ok(least)
            })
            .await?;
        let end = session.certificate.clone();
        let asked = SystemTime::now() + round_trip / 2;
        let sent = Cell::default();
        let (session, examined) = handle.ask_on(Some(session), &Examine, &sent, receive).await?;
        let (session, keys) = self.revoked(handle, session).await?;
        session.leave().await;
        let Examined { version, time_ms, buffers, findings } = examined;
        let since = asked.duration_since(UNIX_EPOCH).unwrap_or_default();
        let here = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let mut all = vec![judge::clock(here, time_ms)];
        all.extend(end.map(|info| {
            let (now, todo) = (signed_seconds(SystemTime::now()), format!("lariat renew {host}"));
            judge::certificate("certificate", info.not_after, now, todo)
        }));
        all.push(judge::version(host, env!("CARGO_PKG_VERSION"), &version));
        all.extend(judge::buffers(round_trip, Buffers::here(), buffers));
        all.extend(findings);
        all.extend(keys);
        // The worst first; what is in order keeps its place.
        all.sort_by_key(|finding| std::cmp::Reverse(finding.grade));
        Ok(all)
    }

    /// Looks on a host for keys that were revoked there, if one was and this key may see them.
    async fn revoked(
        &self,
        handle: &HostHandle,
        session: Session,
    ) -> Result<(Session, Vec<Finding>), Failed> {
        let host = handle.name().clone();
        let host = self.enrolled.get(&host).map(|&enrolment| PendingHost { host, enrolment });
        let host = host.filter(|host| self.revocations.concern(host));
        let Some(host) = host.filter(|_| session.welcome.verbs.contains(KeyVerb::Keys)) else {
            return Ok((session, Vec::new()));
        };
        let HostKeys { session, keys, .. } = host_keys::list_on(handle, Some(session)).await?;
        let there = keys.iter().filter(|key| self.revocations.name(&host, key));
        let mut findings: Vec<_> = there.map(|key| judge::revoked(handle.name(), key)).collect();
        if findings.is_empty() {
            findings.push(Finding::ok("keys: none that was revoked from here"));
        }
        lock(&self.seen).push((host, keys.iter().flat_map(ids).collect()));
        Ok((session, findings))
    }
}

#[derive(Serialize)]
struct Object<'a> {
    host: Option<&'a HostName>,
    grade: Grade,
    text: &'a str,
    todo: Option<&'a str>,
}

/// Findings as lines.
fn told(host: Option<&HostName>, all: &[Finding], json: bool) -> Result<Vec<u8>, CliError> {
    let mut lines = Vec::new();
    for Finding { grade, text, todo } in all {
        if json {
            let todo = (!todo.is_empty()).then_some(todo.as_str());
            lines.extend(json::line(&Object { host, grade: *grade, text, todo })?);
            continue;
        }
        let word = match grade {
            Grade::Ok => "ok  ",
            Grade::Warn => "warn",
            Grade::Bad => "bad ",
        };
        let place = host.map_or("here", HostName::as_str);
        let text = escape(text.as_bytes());
        // An error that failed on a host begins with its name.
        let text = text.strip_prefix(&format!("{place}: ")).unwrap_or(&text);
        let todo =
            if todo.is_empty() { String::new() } else { format!("; {}", escape(todo.as_bytes())) };
        lines.extend(format!("{word} {place}: {text}{todo}\n").into_bytes());
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_with_what_to_do() {
        let host: HostName = "web1".parse().unwrap();
        let all = [
            Finding::ok("clock: as this machine's"),
            Finding::warn("u.service: disabled", "systemctl enable u.service"),
            Finding::bad("web1: connect: refused\n", ""),
        ];
        let text = String::from_utf8(told(Some(&host), &all, false).unwrap()).unwrap();
        insta::assert_snapshot!(text, @r"
        ok   web1: clock: as this machine's
        warn web1: u.service: disabled; systemctl enable u.service
        bad  web1: connect: refused\x0a
        ");
        let text = String::from_utf8(told(None, &all[1..2], true).unwrap()).unwrap();
        let text = text.trim_end();
        insta::assert_snapshot!(text, @r#"{"host":null,"grade":"warn","text":"u.service: disabled","todo":"systemctl enable u.service"}"#);
    }
}
