//! `lariat ping`: reaches a host, proves both ends to each other, and times the round trip.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lariat_base::name::HostName;
use lariat_client::HostHandle;
use lariat_wire::protocol::session::{Ping, Pong};

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{End, Ended, Failed, Fanout, FanoutOptions, Report, within};
use crate::fleet::{self, Fleet};
use crate::output;
use crate::output::json::{self, PingResult, object};
use crate::output::printer::Printer;
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
    let Some(chosen) = args.target.plain() else { return many(args, context) };
    let handle = args.fanout.one(&args.connect, [&args.target], &chosen, context);
    let result = handle.and_then(|handle| {
        let Some(handle) = handle else { return Ok(None) };
        block_on(async { ping(&handle, args.timeout).await.map_err(Failed::into) }).map(Some)
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
    Ok(result.map_or_else(|error| error.status(), |_| ExitCode::SUCCESS))
}

/// Pings several hosts.
fn many(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let fleet = Fleet::load(context, &args.connect)?;
    let hosts = args.fanout.hosts(&args.target, &fleet, context)?;
    if hosts.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let names = hosts.iter().map(|chosen| chosen.host.clone()).collect();
    block_on(async {
        let fanout = Fanout::look(context, names, args.fanout.limits(), args.json)?;
        let report = PingReport { stdout: fanout.screen.stdout.clone(), json: args.json };
        let limit = args.timeout;
        let question = async move |_, handle: &HostHandle| ping(handle, limit).await;
        fanout.ask(Arc::new(fleet), hosts, question, report).await
    })
}

/// What is told of each of several.
struct PingReport {
    stdout: Printer,
    json: bool,
}

impl Report for PingReport {
    type Outcome = Result<Times, Failed>;

    fn ended(&mut self, host: &HostName, came: Self::Outcome) -> Ended {
        let came = came.map_err(|failed| {
            let end = failed.end;
            (end, CliError::from(failed).during("ping"))
        });
        let object = || as_object(host, came.as_ref().ok(), came.as_ref().err().map(|(_, e)| e));
        let line = match (&came, self.json) {
            (_, true) => json::line(&object()),
            (Ok(times), false) => Ok(format!("{}\n", told(host, times)).into_bytes()),
            (Err(_), false) => Ok(Vec::new()),
        };
        match (line, came) {
            (Err(error), _) => Ended::failed(End::Errored, error),
            (Ok(line), came) => {
                self.stdout.put(&line);
                came.map_or_else(|(end, error)| Ended::failed(end, error), |_| Ended::ok())
            }
        }
    }

    fn nothing(&mut self, host: &HostName, error: &CliError) {
        // There is nothing in it that could not be written as JSON.
        if let (true, Ok(line)) = (self.json, json::line(&as_object(host, None, Some(error)))) {
            self.stdout.put(&line);
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
        kind: error.map_or(End::Ok, CliError::end).kind(),
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

async fn ping(handle: &HostHandle, limit: Option<Duration>) -> Result<Times, Failed> {
    within(limit, handle, round_trip(handle)).await
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
