//! `lariat attach`: follows a detached job as if it had been started here.

use std::process::ExitCode;

use super::logs;
use crate::context::Context;
use crate::error::CliError;

#[derive(clap::Args)]
#[command(after_help = "\
Prints what the job has written from the beginning on, goes on with it, and exits as it does: with
its status, 128+N if signal N ended it, 124 if its --timeout did. Ctrl-C leaves the job alone. Of
several hosts, all that have the job are followed to its end there, and the status is that of
lariat run: 0 if every one exited with 0.

Examples:
  lariat attach web1
  lariat attach all 3f2a
  lariat attach web1 3f2a --tail 10; echo \"it exited with $?\"")]
pub(crate) struct Args {
    #[command(flatten)]
    common: logs::Common,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    logs::attach(&args.common, context)
}
