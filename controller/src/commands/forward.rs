//! `lariat forward`: ports that lead through a host.

use std::io;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use lariat_base::name::HostName;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::End;
use crate::fleet::ReachOptions;
use crate::forward::{Dynamic, Forwards, Listening, Local, Remote, Specs};
use crate::output::{self, json};
use crate::runtime::block_on;
use crate::settle;
use crate::status;
use crate::target::Targets;

/// How long a connection to the host may stay broken by default: as good as for ever.
const RECONNECT: Duration = Duration::from_secs(24 * 3600);

#[derive(clap::Args)]
#[command(after_long_help = "\
Listens until Ctrl-C. BIND is 127.0.0.1 unless it is given; * is every address. The host makes the connections, \
and resolves names: what the key may connect to is checked before anything listens, and for each connection again. \
A socket's path may stand in place of BIND:PORT or of ADDR:PORT; -u says who connects to those of the host. If the \
connection to the host drops, lariat reconnects and goes on listening; what was open ends.

Examples:
  lariat forward web1 -L 8080:10.0.0.5:80
  lariat forward web1 -L 5432:/run/postgresql/.s.PGSQL.5432 -u postgres
  lariat forward web1 -R 8080:127.0.0.1:80    (from the host to this machine)
  lariat forward web1 -D 1080                 (a SOCKS5 proxy, for a browser)")]
pub(crate) struct Args {
    /// Which host: web1, or USER@web1
    #[arg(value_name = "HOST")]
    target: Targets,

    /// From here to an address there; repeatable
    ///
    /// The system picks PORT if it is 0.
    #[arg(
        short = 'L',
        value_name = "[BIND:]PORT:ADDR:PORT",
        required_unless_present_any = ["socks", "inward"]
    )]
    outward: Vec<Local>,

    /// From here to wherever SOCKS5 asks; repeatable
    #[arg(short = 'D', value_name = "[BIND:]PORT")]
    socks: Vec<Dynamic>,

    /// From there to an address here; repeatable
    ///
    /// The key needs the verb listen. The host picks PORT if it is 0.
    #[arg(short = 'R', value_name = "[BIND:]PORT:ADDR:PORT")]
    inward: Vec<Remote>,

    /// User who connects to unix sockets there
    ///
    /// The default is the agent's own user. The same as NAME@HOST.
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,

    /// Print one JSON object for each that listens
    ///
    /// Its fields: host, ok, kind, direction, listen, to, error.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ReachOptions,
}

/// The fields that the verb adds to an object.
#[derive(Default, Serialize)]
struct Added {
    direction: Option<&'static str>,
    listen: Option<String>,
    to: Option<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let chosen = args.target.one("forward", "ports lead through one")?;
    let Args { outward, socks, inward, .. } = args;
    let specs = Specs { local: outward.clone(), dynamic: socks.clone(), remote: inward.clone() };
    let handle = settle::host(context, &args.connect, &chosen)?;
    let reconnect = args.connect.reconnect.unwrap_or(RECONNECT);
    let handle = handle.reconnecting(Some(reconnect));
    let user = chosen.user(args.user.as_deref())?;
    let during = |error: CliError| error.during("forward");
    let result = block_on(LocalSet::new().run_until(async {
        let stop = stopped().map_err(|error| CliError::from(error).during("wait for signals"))?;
        let mut stop = pin!(stop);
        let ended = |number| Ok(ExitCode::from(status::signal(number)));
        let forwards = tokio::select! {
            number = &mut stop => return ended(number),
            begun = Forwards::begin(handle, user, &specs) => begun?,
        };
        for listening in forwards.listening() {
            tell(&chosen.host, listening, args.json)?;
        }
        let told = |listening| {
            // Who reads this is gone; the ports are still of use.
            let _ = tell(&chosen.host, listening, args.json);
        };
        ended(forwards.serve(stop.as_mut(), false, told).await?)
    }));
    result.or_else(|error| {
        if args.json && !error.is_quiet() {
            output::bytes(&json::failure(&chosen.host, &error, Added::default())?)?;
        }
        Err(during(error))
    })
}

fn tell(host: &HostName, listening: Listening, is_json: bool) -> Result<(), CliError> {
    if is_json {
        let Listening { direction, listen, to } = listening;
        let added = Added { direction: Some(direction), listen: Some(listen), to };
        return output::bytes(&json::result(host, End::Ok, None, added)?);
    }
    output::note(&listening.told(host));
    Ok(())
}

/// Waits for a signal that ends this process.
fn stopped() -> io::Result<impl Future<Output = u8>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        let kind = tokio::select! {
            _ = interrupt.recv() => SignalKind::interrupt(),
            _ = terminate.recv() => SignalKind::terminate(),
            _ = hangup.recv() => SignalKind::hangup(),
        };
        u8::try_from(kind.as_raw_value()).unwrap_or_default()
    })
}
