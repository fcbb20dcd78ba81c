//! Watching without a screen: a line where a host's state changes, or an object for each look, and how many hosts there
//! are of each state from time to time.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use lariat_base::clock::{seconds, since_boot};
use lariat_base::date;
use lariat_client::status::StatusObject;
use rustix::stdio::{stderr, stdout};
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::host::{Host, Look, State};
use super::watching::{Hosts, Watching};
use crate::error::CliError;
use crate::output::printer::Printer;
use crate::output::{json, style};
use crate::status;
use crate::target::fold;

/// How often the totals are written.
const TOTALS: Duration = Duration::from_secs(60);

/// The fields that the verb adds to a host's object, besides those of `status`.
#[derive(Serialize)]
struct Watched<'a> {
    time: u64,
    state: &'static str,
    changed: bool,
    #[serde(flatten)]
    status: StatusObject<'a>,
}

/// What is known of the hosts, and where it is written.
struct Report {
    hosts: Vec<Host>,
    is_json: bool,
    out: Printer,
    err: Printer,
}

/// Writes until a signal comes, or there were enough looks. Returns the exit status.
pub(super) async fn run(hosts: Hosts<'_>, is_json: bool) -> Result<u8, CliError> {
    let failed = |error| CliError::from(error).during("write output");
    let out = Printer::start(stdout(), None).map_err(failed)?;
    let err = Printer::start(stderr(), None).map_err(failed)?;
    hosts.context.outages.hosts(err.clone(), true);
    let are_several = hosts.are_several;
    let mut report = Report { hosts: hosts.names().map(Host::new).collect(), is_json, out, err };
    let Watching { mut told, mut pool, mut signals } = hosts.watch()?;
    let mut due = interval_at(Instant::now() + TOTALS, TOTALS);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut left = report.hosts.len();
    while left > 0 {
        tokio::select! {
            biased;
            signal = signals.next() => {
                report.out.flushed().await;
                return Ok(status::signal(signal));
            }
            () = report.out.broken() => break,
            _ = due.tick() => report.totals(),
            Some((number, look)) = told.recv() => report.heard(number, look).await?,
            Some((number, done)) = pool.ended() => {
                left -= 1;
                while let Ok((number, look)) = told.try_recv() {
                    report.heard(number, look).await?;
                }
                if done.is_none() {
                    report.heard(number, Look::mistake()).await?;
                }
            }
        }
    }
    report.out.flushed().await;
    if let Some(error) = report.out.take_error() {
        return Err(CliError::stdout(&error));
    }
    report.totals();
    report.err.flushed().await;
    let ends = report.hosts.iter().map(|host| host.end);
    Ok(match &*report.hosts {
        [host] if !are_several => status::of_one(host.end),
        _ => status::of_several(ends, None),
    })
}

impl Report {
    async fn heard(&mut self, number: usize, look: Look) -> Result<(), CliError> {
        let host = &mut self.hosts[number];
        let has_changed = host.heard(look, since_boot());
        if self.is_json {
            self.out.send(&object(host, has_changed)?).await;
        } else if has_changed {
            self.out.send(line(host).as_bytes()).await;
        }
        Ok(())
    }

    fn totals(&self) {
        if !style::is_quiet() {
            self.err.put(format!("{}\n", totals(&self.hosts)).as_bytes());
        }
    }
}

fn line(host: &Host) -> String {
    let now = date::format(seconds(SystemTime::now())).unwrap_or_default();
    let reason = host.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{now} {} {}{reason}\n", host.name, host.state.word())
}

fn object(host: &Host, changed: bool) -> Result<Vec<u8>, CliError> {
    let measured = host.measured.as_ref().filter(|_| host.state.is_up());
    let status =
        measured.map(|(measured, _)| StatusObject::of(&measured.report, Some(measured.clock_skew)));
    let watched = Watched {
        time: seconds(SystemTime::now()),
        state: host.state.word(),
        changed,
        status: status.unwrap_or_default(),
    };
    let error = host.reason().filter(|_| !host.state.is_up()).map(ToOwned::to_owned);
    json::result(&host.name, host.end, error, watched)
}

/// How many hosts there are of each state, and which of them are not well.
fn totals(hosts: &[Host]) -> String {
    let mut of: BTreeMap<State, Vec<&str>> = BTreeMap::new();
    for host in hosts {
        of.entry(host.state).or_default().push(host.name.as_str());
    }
    let one = |(state, names): (State, Vec<&str>)| {
        let (count, word) = (names.len(), state.word());
        if matches!(state, State::Ok | State::Connecting) {
            format!("{count} {word}")
        } else {
            format!("{count} {word} ({})", fold(names))
        }
    };
    of.into_iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::samples::measured;
    use super::*;
    use crate::fanout::End;

    #[test]
    fn totals_name_the_hosts_that_are_not_well() {
        let host = |name: &str| Host::new(name.parse().unwrap());
        let mut hosts = ["web1", "web2", "web3", "db1", "db2"].map(host);
        let look = |disk| Look::Answer(measured(0, 0, disk));
        hosts[0].heard(look(90), Duration::ZERO);
        hosts[1].heard(look(90), Duration::ZERO);
        hosts[2].heard(look(9), Duration::ZERO);
        hosts[3].heard(Look::Failure(End::Unreachable, "cut".to_owned()), Duration::ZERO);
        assert_eq!(totals(&hosts), "1 unreachable (db1), 2 warn (web[1-2]), 1 ok, 1 connecting");
        assert!(line(&hosts[0]).ends_with("Z web1 warn: disk / 90% full\n"), "{}", line(&hosts[0]));
        assert!(line(&hosts[2]).ends_with("Z web3 ok\n"));
        assert!(line(&hosts[3]).ends_with("Z db1 unreachable: cut\n"));
        let down = String::from_utf8(object(&hosts[3], true).unwrap()).unwrap();
        for part in [
            r#""host":"db1","ok":false,"kind":"unreachable","error":"cut""#,
            r#""state":"unreachable","changed":true,"version":null"#,
        ] {
            assert!(down.contains(part), "{part}: {down}");
        }
        let up = String::from_utf8(object(&hosts[0], false).unwrap()).unwrap();
        for part in [
            r#""ok":true,"kind":"ok","error":null"#,
            r#""state":"warn","changed":false,"version":"0.1.0""#,
        ] {
            assert!(up.contains(part), "{part}: {up}");
        }
    }
}
