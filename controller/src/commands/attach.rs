//! `lariat attach`: a detached job as if it had been run here all the time.

use std::process::ExitCode;

use lariat_wire::protocol::job::State;

use super::logs;
use crate::context::Context;
use crate::error::CliError;

#[derive(clap::Args)]
#[command(after_help = "\
Prints what the job has written from the beginning on, goes on with it, and exits as it does: with
its status, 128+N if signal N ended it, 124 if its --timeout did. Ctrl-C leaves the job alone. Of
several hosts the one that has the job is found; if several have one that is meant, they are named.

Examples:
  lariat attach web1
  lariat attach all 3f2a
  lariat attach web1 3f2a --tail 10; echo \"it exited with $?\"")]
pub(crate) struct Args {
    #[command(flatten)]
    common: logs::Common,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let died = |how: &str| {
        let message = format!("attach: {how}: how the command ended is not known");
        CliError::new(message)
    };
    let Some((status, state)) = logs::follow(&args.common, context, "attach")? else {
        return Ok(ExitCode::SUCCESS);
    };
    match state {
        None => Ok(ExitCode::from(status)),
        Some(State::Ended(end)) => Ok(ExitCode::from(end.status())),
        Some(State::Died { with_host: true }) => {
            Err(died("the job died when its host was restarted"))
        }
        Some(State::Died { with_host: false }) => {
            Err(died("the process that watched over the job died"))
        }
        Some(State::Running) => {
            Err(CliError::new("attach: the agent says that the job still runs"))
        }
    }
}
