//! `lariat ping`: reaches a host, proves both ends to each other, and times the round trip.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lariat_common::link::LinkError;
use lariat_common::name::HostName;
use lariat_common::protocol::request::{Ping, Pong};
use tokio::time::timeout;

use crate::connect::{Peer, Session};
use crate::context::Context;
use crate::error::{CliError, EXIT_FAILURE};
use crate::fanout::{End, Ended, Fanout, FanoutOptions, Plan, Report, Work};
use crate::output;
use crate::output::json::{self, PingResult, object};
use crate::output::printer::Printer;
use crate::reach::{self, Fleet, Reach};
use crate::runtime::block_on;
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

    /// One JSON object a line: host, ok, seconds, error
    #[arg(long)]
    json: bool,

    /// How long it may take for a host, connecting included
    #[arg(long, value_name = "DUR", value_parser = reach::parse_limit)]
    timeout: Option<Duration>,

    #[command(flatten)]
    connect: reach::ReachOptions,

    #[command(flatten)]
    fanout: FanoutOptions,
}

/// What was measured.
struct Times {
    connect: Duration,
    round_trip: Duration,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let Some(chosen) = args.target.plain() else { return many(args, context) };
    let fleet = Fleet::load(context, &args.connect);
    let result = fleet.and_then(|fleet| {
        if !args.fanout.includes(&args.target, &fleet.inventory, &context.home()?)? {
            return Ok(None);
        }
        let reach = fleet.reach(&chosen)?;
        block_on(async { ping(&reach, args.timeout).await.map_err(Failed::into) }).map(Some)
    });
    let result = result.map_err(|error| error.during("ping"));
    let host = &chosen.host;
    if let Ok(None) = result {
        return Ok(ExitCode::SUCCESS);
    }
    if !args.json {
        let lines = result?.map(|times| told(host, &times));
        return lines.map_or(Ok(()), |line| output::line(&line)).map(|()| ExitCode::SUCCESS);
    }
    object(&as_object(host, result.as_ref().ok().and_then(Option::as_ref), result.as_ref().err()))?;
    Ok(if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}

/// Pings several hosts.
fn many(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let home = context.home()?;
    let fleet = Fleet::load(context, &args.connect)?;
    let hosts = args.fanout.hosts(&args.target, &fleet.inventory, &home)?;
    if hosts.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let names = hosts.iter().map(|chosen| chosen.host.clone()).collect();
    let plan = Plan::now("ping", String::new(), args.target.to_string(), names);
    block_on(async {
        let fanout = Fanout::new(context, plan, args.fanout.limits(), args.json)?;
        let report = Told { stdout: fanout.screen.stdout.clone(), json: args.json };
        let (all, relay) = (Arc::new((fleet, hosts)), Arc::clone(&fanout.relay));
        let limit = args.timeout;
        let begin = move |number: usize| -> Work<Result<Times, Failed>> {
            let (all, mut signals) = (Arc::clone(&all), relay.signals());
            Box::pin(async move {
                let (fleet, hosts) = &*all;
                let reach = fleet.reach(&hosts[number]);
                let reach = reach.map_err(|error| Failed { end: End::Failed, error })?;
                tokio::select! {
                    result = ping(&reach, limit) => result,
                    _ = signals.next() => Err(Failed::interrupted()),
                }
            })
        };
        fanout.run(begin, report).await
    })
}

/// What is told of each of several.
struct Told {
    stdout: Printer,
    json: bool,
}

impl Report for Told {
    type Came = Result<Times, Failed>;

    fn ended(&mut self, host: &HostName, came: Self::Came) -> Ended {
        let came = came.map_err(|failed| (failed.end, CliError::from(failed).during("ping")));
        let object = || as_object(host, came.as_ref().ok(), came.as_ref().err().map(|(_, e)| e));
        let line = match (&came, self.json) {
            (_, true) => json::line(&object()),
            (Ok(times), false) => Ok(format!("{}\n", told(host, times)).into_bytes()),
            (Err(_), false) => Ok(Vec::new()),
        };
        match (line, came) {
            (Err(error), _) => Ended::failed(End::Failed, error),
            (Ok(line), came) => {
                self.stdout.put(&line);
                came.map_or_else(|(end, error)| Ended::failed(end, error), |_| Ended::ok())
            }
        }
    }
}

fn as_object<'a>(
    host: &'a HostName,
    times: Option<&Times>,
    error: Option<&CliError>,
) -> PingResult<'a> {
    PingResult {
        host,
        ok: error.is_none(),
        seconds: times.map(|times| times.round_trip.as_secs_f64()),
        error: error.map(CliError::line),
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

/// Why there was no answer.
struct Failed {
    end: End,
    error: CliError,
}

impl Failed {
    fn interrupted() -> Self {
        Self { end: End::NotStarted, error: CliError::new("interrupted") }
    }
}

impl From<Failed> for CliError {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

async fn ping(reach: &Reach, limit: Option<Duration>) -> Result<Times, Failed> {
    let Some(limit) = limit else { return round_trip(reach).await };
    timeout(limit, round_trip(reach)).await.unwrap_or_else(|_| {
        let error = CliError::new(format!("no answer within {} s", limit.as_secs_f32()));
        let Peer { name, address, .. } = &reach.peer;
        Err(Failed { end: End::Failed, error: error.during(format!("{name} ({address})")) })
    })
}

async fn round_trip(reach: &Reach) -> Result<Times, Failed> {
    let began = Instant::now();
    let connected = reach.connect(&Ping { nonce: 0 }).await;
    let Session { mut link, welcome: _ } = connected.map_err(|error| {
        let end = if error.is_refusal() { End::Refused } else { End::Unreachable };
        Failed { end, error: error.into() }
    })?;
    let connect = began.elapsed();
    let round_trip = async {
        link.expect::<Pong>().await?;
        let began = Instant::now();
        link.send(&Ping { nonce: 1 }).await?;
        link.expect::<Pong>().await?;
        let round_trip = began.elapsed();
        link.writer.finish().await?;
        Ok(round_trip)
    };
    let failed = |error: LinkError| {
        let error = CliError::from(error);
        let Peer { name, address, .. } = &reach.peer;
        Failed { end: End::Unreachable, error: error.during(format!("{name} ({address})")) }
    };
    Ok(Times { connect, round_trip: round_trip.await.map_err(failed)? })
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
