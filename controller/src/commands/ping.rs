//! `lariat ping`: reaches a host, proves both ends to each other, and times the round trip.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use lariat_base::name::HostName;
use lariat_client::HostHandle;
use lariat_wire::protocol::session::{Ping, Pong};

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{End, Ended, Failed, FanoutOptions, HostContext, HostWork, Verb, within};
use crate::fleet;
use crate::output::json::{self, PingResult};
use crate::target::Targets;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  lariat ping web1
  lariat ping all
  lariat ping @web --timeout 2s --json | jq .seconds")]
pub(crate) struct Args {
    /// Which hosts
    #[arg(value_name = "TARGET")]
    target: Targets,

    /// One JSON object a line: host, ok, kind, seconds, error
    #[arg(long)]
    json: bool,

    /// How long it may take for a host, connecting included
    #[arg(long, value_name = "DUR", value_parser = fleet::parse_limit)]
    timeout: Option<Duration>,

    #[command(flatten)]
    connect: fleet::ReachOptions,

    #[command(flatten)]
    fanout: FanoutOptions,
}

/// What was measured.
struct Times {
    connect: Duration,
    round_trip: Duration,
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
            (outcome, true) => json::line(&as_object(host, outcome.as_ref())),
            (Ok(times), false) => Ok(format!("{}\n", told(host, times)).into_bytes()),
            (Err(_), false) => Ok(Vec::new()),
        };
        match (line, outcome) {
            (Ok(line), Ok(_)) => (line, Ended::ok()),
            (Ok(line), Err(error)) => (line, Ended::failed(error.end(), error)),
            (Err(error), _) => (Vec::new(), Ended::failed(End::Errored, error)),
        }
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        json::line(&as_object(host, Err(error)))
    }
}

fn as_object<'a>(host: &'a HostName, outcome: Result<&Times, &CliError>) -> PingResult<'a> {
    PingResult {
        host,
        ok: outcome.is_ok(),
        kind: outcome.map_or_else(CliError::end, |_| End::Ok).kind(),
        seconds: outcome.ok().map(|times| times.round_trip.as_secs_f64()),
        error: outcome.err().map(CliError::line),
    }
}

fn told(host: &HostName, times: &Times) -> String {
    format!("{host}: {} (connect {})", ms(times.round_trip), ms(times.connect))
}

/// Below a millisecond the first decimal is not enough.
fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    let decimals = if ms < 1.0 { 2 } else { 1 };
    format!("{ms:.decimals$} ms")
}

async fn round_trip(handle: &HostHandle) -> Result<Times, Failed> {
    let began = Instant::now();
    let (session, times) = handle
        .ask(&Ping { nonce: 0 }, async |session| {
            let connect = began.elapsed();
            let link = &mut session.link;
            link.expect::<Pong>().await?;
            let began = Instant::now();
            link.send(&Ping { nonce: 1 }).await?;
            link.expect::<Pong>().await?;
            Ok(Times { connect, round_trip: began.elapsed() })
        })
        .await?;
    session.leave().await;
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_it() {
        let host = "web1".parse().unwrap();
        let times =
            Times { connect: Duration::from_micros(2949), round_trip: Duration::from_micros(351) };
        insta::assert_snapshot!(told(&host, &times), @"web1: 0.35 ms (connect 2.9 ms)");
    }
}
