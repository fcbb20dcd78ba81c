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
use crate::target::Targets;
use program::Program;
use work::UpgradeWork;

#[derive(clap::Args)]
#[command(after_help = "\
Each host checks the new lariatd, starts it, and keeps it once this command has logged in to it. If that does
not happen within a minute, the host puts the old one back: exit 1. Jobs, shells and transfers go on.
Needs a key with the verb upgrade. An agent that a package has installed is upgraded by the package.

Examples:
  lariat upgrade web1
  lariat upgrade all --batch 10% --max-fail 0          a tenth at a time; stop at the first that fails
  lariat upgrade @arm --file lariatd-aarch64
  lariat upgrade web1 --file lariatd-0.1.0 --downgrade")]
pub(crate) struct Args {
    /// Which hosts
    #[arg(value_name = "TARGET")]
    target: Targets,

    /// The new agent [default: lariatd beside lariat]
    #[arg(long, value_name = "LARIATD")]
    file: Option<PathBuf>,

    /// Take an older version too, or another build of the same version
    #[arg(long)]
    downgrade: bool,

    /// One JSON object for each host: host, ok, kind, error, changed, before, after
    #[arg(long)]
    json: bool,

    /// Time limit for each host, including connecting
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
