//! `lariat audit`: what was done on hosts, and whether the record of it is whole.

mod copy;
mod lines;
mod pull;
mod show;
mod told;
mod verify;
mod wanted;

use std::process::ExitCode;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliError;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Show what was done on hosts
    Show(show::Args),
    /// Copy the record of hosts into a directory, or what is new of it
    Pull(pull::Args),
    /// Verify that the record is whole and continues what was seen here
    Verify(verify::Args),
}

impl Args {
    pub(crate) fn is_key_a_filter(&self) -> bool {
        matches!(self.command, AuditCommand::Show(_))
    }

    #[cfg(test)]
    pub(crate) fn filter(&self) -> Option<&str> {
        match &self.command {
            AuditCommand::Show(show) => show.key.as_deref(),
            AuditCommand::Pull(_) | AuditCommand::Verify(_) => None,
        }
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    match &args.command {
        AuditCommand::Show(args) => show::run(args, context),
        AuditCommand::Pull(args) => pull::run(args, context),
        AuditCommand::Verify(args) => verify::run(args, context),
    }
}
