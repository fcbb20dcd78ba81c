//! `lariat ping`: connects to hosts, authenticates, and measures the round trip.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use lariat_base::certificate::CertificateInfo;
use lariat_base::clock::signed_seconds;
use lariat_base::name::HostName;
use lariat_client::HostHandle;
use lariat_wire::protocol::session::{Ping, Pong};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{End, Ended, Failed, FanoutOptions, HostContext, HostWork, Verb, within};
use crate::fleet;
use crate::output::json;
use crate::target::{self, Targets};

#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  lariat ping web1
  lariat ping all
  lariat ping @web --timeout 2s --json | jq .seconds")]
pub(crate) struct Args {
    /// Which hosts: web1, web[01-20], 'web*', @tag, all
    #[arg(value_name = "TARGET", long_help = target::HELP)]
    target: Targets,

    /// Print one JSON object per host
    ///
    /// Its fields: host, ok, kind, seconds, error.
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

/// The measured times.
pub(super) struct Times {
    connect: Duration,
    pub(super) round_trip: Duration,
    /// The days that are left to the host's certificate, if they are few.
    days_left: Option<i64>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { target, json, timeout, connect, fanout } = args;
    let targets = vec![target];
    let verb = Verb { context, connect, fanout, targets, json: *json, recorded: None };
    verb.run(async |_| Ok(Pinging { json: *json, limit: *timeout }))
}

struct Pinging {
    json: bool,
    limit: Option<Duration>,
}

/// The fields that the verb adds to a host's object.
#[derive(Default, Serialize)]
struct Added {
    /// The round trip.
    seconds: Option<f64>,
}

impl HostWork for Pinging {
    type Outcome = Times;
    type Total = ();

    async fn on(&self, host: HostContext<'_>) -> Result<Times, Failed> {
        within(self.limit, &host.handle, round_trip(&host.handle)).await
    }

    fn report(
        &self,
        (): &mut (),
        host: &HostName,
        outcome: Result<Times, Failed>,
    ) -> (Vec<u8>, Ended) {
        let outcome = outcome.map_err(|failed| CliError::from(failed).during("ping"));
        let line = match (&outcome, self.json) {
            (Ok(times), true) => {
                let seconds = Some(times.round_trip.as_secs_f64());
                json::result(host, End::Ok, None, Added { seconds })
            }
            (Err(error), true) => json::failure(host, error, Added::default()),
            (Ok(times), false) => Ok(format!("{}\n", told(host, times)).into_bytes()),
            (Err(_), false) => Ok(Vec::new()),
        };
        match (line, outcome) {
            (Ok(line), Ok(Times { days_left, .. })) => {
                let soon = |days| {
                    format!("{host}: its certificate ends in {days} day(s): lariat renew {host}")
                };
                (line, Ended { notes: days_left.map(soon).into_iter().collect(), ..Ended::ok() })
            }
            (Ok(line), Err(error)) => (line, Ended::failed(error.end(), error)),
            (Err(error), _) => (Vec::new(), Ended::failed(End::Errored, error)),
        }
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        json::failure(host, error, Added::default())
    }
}

fn told(host: &HostName, times: &Times) -> String {
    format!("{host}: {} (connect {})", ms(times.round_trip), ms(times.connect))
}

/// Below a millisecond one decimal is not enough.
pub(super) fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    let decimals = if ms < 1.0 { 2 } else { 1 };
    format!("{ms:.decimals$} ms")
}

/// Logs in to a host, and measures.
pub(super) async fn round_trip(handle: &HostHandle) -> Result<Times, Failed> {
    let began = Instant::now();
    let (session, times) = handle
        .ask(&Ping { nonce: 0 }, async |session| {
            let connect = began.elapsed();
            session.answer::<Pong>().await?;
            let began = Instant::now();
            session.link.send(&Ping { nonce: 1 }).await?;
            session.answer::<Pong>().await?;
            let round_trip = began.elapsed();
            let days_left = session.certificate.as_ref().and_then(days_left);
            Ok(Times { connect, round_trip, days_left })
        })
        .await?;
    session.leave().await;
    Ok(times)
}

/// The days that are left to a certificate, if they are few.
fn days_left(certificate: &CertificateInfo) -> Option<i64> {
    certificate.days_left(signed_seconds(SystemTime::now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_is_one_line() {
        let host = "web1".parse().unwrap();
        let times = Times {
            connect: Duration::from_micros(2949),
            round_trip: Duration::from_micros(351),
            days_left: None,
        };
        insta::assert_snapshot!(told(&host, &times), @"web1: 0.35 ms (connect 2.9 ms)");
    }
}
