//! `lariat demo`: a tour on this machine, with a temporary fleet and real agents.

use std::process::ExitCode;

use crate::context::Context;
use crate::demo;
use crate::error::CliError;

#[derive(clap::Args)]
#[command(after_long_help = "\
It creates a fleet of twelve agents on loopback in a temporary directory, runs commands on all of them, cuts a \
link under a push and kills an agent under a command. On a terminal it waits for Enter between two chapters. It \
needs nothing, takes 20 seconds, and leaves nothing behind.

Examples:
  lariat demo
  lariat demo --keep")]
pub(crate) struct Args {
    /// Don't wait for Enter
    #[arg(long)]
    fast: bool,

    /// Open a shell at the end, to play with the fleet
    ///
    /// The fleet is removed when the shell ends.
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(args: &Args, _: &Context) -> Result<ExitCode, CliError> {
    demo::run(args.fast, args.keep).map_err(|error| error.during("demo"))
}
