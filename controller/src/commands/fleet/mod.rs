//! `lariat fleet`: what a second operator needs of the fleet. Nothing in it is secret.

mod export;
mod file;
mod import;

pub(crate) use file::fingerprint;

use std::process::ExitCode;

use crate::context::Context;
use crate::error::CliError;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: FleetVerb,
}

// What to do with the fleet.
#[derive(clap::Subcommand)]
enum FleetVerb {
    /// Write the CA's certificate, the hosts and the revocations into a file
    Export(export::Args),
    /// Take them from such a file
    Import(import::Args),
}

pub(crate) fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.verb {
        FleetVerb::Export(args) => export::run(&args, context),
        FleetVerb::Import(args) => import::run(&args, context),
    }
}
