//! `lariat attach`: follows a detached job as if it had been started here.

use std::process::ExitCode;

use super::logs;
use crate::context::Context;
use crate::error::CliError;

#[derive(clap::Args)]
#[command(after_long_help = "\
Prints the job's output from the beginning, follows it to its end, and exits as the job does: with its status, \
128+N if signal N ended it, 124 if its --timeout did. Ctrl-C leaves the job running. Of several hosts, all that \
have the job are followed to its end there, and the status is that of lariat run: 0 if every one exited with 0.

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
