//! `lariat upgrade`: replaces the agents of hosts by another version. A new agent that this controller can't log in to
//! is not kept: the host puts the old one back by itself.

mod program;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{FanoutOptions, Recorded, Verb};
use crate::fleet::{self, ReachOptions};
use crate::target::{self, Targets};
use program::Program;
use work::UpgradeWork;

#[derive(clap::Args)]
#[command(after_long_help = "\
Each host checks the new lariatd, starts it, and keeps it once this command has logged in to it. Otherwise the \
host restores the old one within a minute, and the exit status is 1. Jobs, shells and transfers continue. It \
needs a key with the verb upgrade. An agent that a package installed is upgraded by the package.

Examples:
  lariat upgrade web1
  lariat upgrade all --batch 10% --max-fail 0          a tenth at a time; stop at the first failure
  lariat upgrade @arm --file lariatd-aarch64
  lariat upgrade web1 --file lariatd-0.1.0 --downgrade")]
pub(crate) struct Args {
    /// Which hosts: web1, web[01-20], 'web*', @tag, all
    #[arg(value_name = "TARGET", long_help = target::HELP)]
    target: Targets,

    /// The new agent [default: lariatd beside lariat]
    #[arg(long, value_name = "LARIATD")]
    file: Option<PathBuf>,

    /// Accept an older version
    ///
    /// Also another build of the same version.
    #[arg(long)]
    downgrade: bool,

    /// Print one JSON object per host
    ///
    /// Its fields: host, ok, kind, error, changed, before, after.
    #[arg(long)]
    json: bool,

    /// Time limit per host, such as 30s, 5m or 2h
    ///
    /// It includes the time for connecting. DUR is a number with a unit, ms, s, m, h or d; without a unit it is
    /// seconds.
    #[arg(long, value_name = "DUR", value_parser = fleet::parse_limit)]
    timeout: Option<Duration>,

    #[command(flatten)]
    connect: ReachOptions,

    #[command(flatten)]
    fanout: FanoutOptions,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { target, file, downgrade, json, timeout, connect, fanout } = args;
    let program = Program::open(file.as_deref()).map_err(|error| error.during("upgrade"))?;
    let verb = Verb {
        context,
        connect,
        fanout,
        targets: vec![target],
        json: *json,
        recorded: Some(Recorded::new("upgrade", program.name())),
    };
    verb.run(async |hosts| {
        hosts.refuse_users("upgrade", "an agent")?;
        Ok(UpgradeWork { program, downgrade: *downgrade, json: *json, limit: *timeout })
    })
}
