//! `lariat ping`: reaches a host, proves both ends to each other, and times the round trip.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use lariat_common::link::LinkError;
use lariat_common::name::HostName;
use lariat_common::protocol::request::{Ping, Pong};

use crate::connect::Session;
use crate::context::Context;
use crate::error::{CliError, EXIT_FAILURE};
use crate::output;
use crate::output::json::{PingResult, object};
use crate::reach::{self, Reach};
use crate::runtime::block_on;
use crate::target::Target;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  lariat ping web1
  lariat ping web1 --json | jq .seconds")]
pub(crate) struct Args {
    /// Which host
    #[arg(value_name = "TARGET")]
    target: Target,

    /// One JSON object a line: host, ok, seconds, error
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: reach::ReachOptions,
}

/// What was measured.
struct Times {
    connect: Duration,
    round_trip: Duration,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let host = &args.target.host;
    let result = Reach::new(context, &args.target, &args.connect)
        .and_then(|reach| block_on(async { ping(&reach).await }))
        .map_err(|error| error.during("ping"));
    if !args.json {
        return output::line(&told(host, &result?)).map(|()| ExitCode::SUCCESS);
    }
    object(&PingResult {
        host,
        ok: result.is_ok(),
        seconds: result.as_ref().ok().map(|times| times.round_trip.as_secs_f64()),
        error: result.as_ref().err().map(CliError::line),
    })?;
    Ok(if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
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

async fn ping(reach: &Reach) -> Result<Times, CliError> {
    let began = Instant::now();
    let Session { mut link, welcome: _ } = reach.connect(&Ping { nonce: 0 }).await?;
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
        CliError::from(error).during(format!("{} ({})", reach.peer.name, reach.peer.address))
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
