//! `lariat demo`: a tour on this machine, with a temporary fleet and a real agent.

use std::process::ExitCode;

use crate::context::Context;
use crate::demo;
use crate::error::CliError;

#[derive(clap::Args)]
#[command(after_help = "\
It makes a fleet and an agent on loopback in a temporary directory, runs a command, pushes a file, cuts
the push in the middle, goes on with it, pulls the file back and compares. It needs nothing, asks
nothing, takes a few seconds, and leaves nothing behind.

Example:
  lariat demo")]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, _: &Context) -> Result<ExitCode, CliError> {
    demo::run().map_err(|error| error.during("demo"))
}
