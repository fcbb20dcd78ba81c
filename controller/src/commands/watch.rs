//! `lariat watch`: hosts as they are, live.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::connections;
use crate::fleet::{self, Fleet, ReachOptions};
use crate::output::style::is_dumb;
use crate::runtime::block_on;
use crate::settle::settle;
use crate::target::{self, Targets};
use crate::watch::{Display, Hosts, pace, watch};

#[derive(clap::Args)]
#[command(after_help = "More options, global ones among them: --help")]
#[command(after_long_help = "\
On a terminal all hosts are shown on a full screen, the worst first: unreachable, refused, failed, bad, warn, ok. A \
host is bad or warns for its disks (95 %, 85 %), memory (97 %, 90 %), load (4 or 2 times its processors), certificate \
(3 or 30 days), clock (60 s, 2 s) or a limit of its agent. Keys: Enter shows a host with its jobs, and a detached job \
with its output; / filters; w, n, l, m, d, j and t sort by worst, name, load, memory, disk, jobs and transfers, r \
reverses; Esc goes back; q leaves.

Elsewhere, or with --json or --count, a line is written to stdout where the state of a host changes, and once a \
minute one to stderr that counts them. A host that does not answer is tried again, for ever. The key needs the verb \
status.

Examples:
  lariat watch all
  lariat watch @web --every 10s > web.log
  lariat watch all --count 1
  lariat watch all --json | jq -r 'select(.changed) | [.host, .state] | @tsv'")]
pub(crate) struct Args {
    /// Which hosts: web1, web[01-20], 'web*', @tag, all
    #[arg(value_name = "TARGET", long_help = target::HELP)]
    target: Targets,

    /// How often to look at each host [default: 2s]
    ///
    /// With more than 400 hosts the default is 5 ms for each of them: 5 s for 1000.
    #[arg(long, value_name = "DUR", value_parser = parse_every)]
    every: Option<Duration>,

    /// Look N times at each host, and exit
    ///
    /// The exit status is 0 if every host answered the last time, else 255.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,

    /// Print one JSON object for each look at a host
    ///
    /// Its fields: host, ok, kind, error, time, state, changed, and those of lariat status.
    #[arg(long)]
    json: bool,

    /// How many hosts to connect to at a time
    #[arg(help_heading = "Many hosts", long, value_name = "N", default_value = "64", hide_short_help = true, value_parser = clap::value_parser!(u32).range(1..))]
    parallel: u32,

    #[command(flatten)]
    connect: ReachOptions,
}

/// The shortest time between two looks at a host.
const SHORTEST: Duration = Duration::from_millis(100);

fn parse_every(text: &str) -> Result<Duration, String> {
    match fleet::parse_limit(text)? {
        every if every < SHORTEST => Err("100ms is the shortest".to_owned()),
        every => Ok(every),
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { target, every, count, json, parallel, connect } = args;
    let fleet = Fleet::load(context, connect)?;
    let plain = target.plain();
    let are_several = plain.is_none();
    let mut chosen = match plain {
        Some(chosen) => {
            fleet.host(&chosen)?;
            vec![chosen]
        }
        None if fleet.is_local() => {
            let what = format!("--local is for one host, by its name, and not for {target}");
            return Err(CliError::new(what));
        }
        None => target.select(&fleet.inventory)?,
    };
    if let Some(chosen) = chosen.iter().find(|chosen| chosen.user.is_some()) {
        let error = CliError::new("watch: a status is its host's, and no user's");
        return Err(error.hint(format!("lariat watch {}", chosen.host)));
    }
    Hosts::sort(&mut chosen);
    settle(context, &fleet, &chosen)?;
    let most = connections();
    if chosen.len() > most {
        let count = chosen.len();
        let what = format!("watch: {count} hosts, and this process may have {most} connections");
        return Err(CliError::new(what).hint("ulimit -n 65536"));
    }
    let display = match (json, count) {
        (true, _) => Display::Objects,
        (false, None) if io::stdout().is_terminal() && !is_dumb() => Display::Screen,
        (false, _) => Display::Lines,
    };
    let hosts = Hosts {
        context,
        fleet: Arc::new(fleet),
        every: pace(*every, chosen.len()),
        chosen,
        are_several,
        looks: *count,
        connect_timeout: connect.connect_timeout,
        parallel: usize::try_from(*parallel).unwrap_or(usize::MAX),
    };
    block_on(watch(hosts, display)).map(ExitCode::from)
}
