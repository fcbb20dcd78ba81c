//! `--detach`: a job that is started and then left alone.

use std::process::ExitCode;

use lariat_common::protocol::exec::{Run, Streams};

use super::{Args, report};
use crate::context::Context;
use crate::error::{CliError, EXIT_FAILURE};
use crate::output;
use crate::output::json::{JobResult, object};
use crate::reach::Reach;
use crate::run::{Connections, Job, Outcome, Signals};

/// Starts it, and prints its id as the last word of one line.
pub(super) async fn run(
    args: &Args,
    mut request: Run,
    reach: &Reach,
    context: &Context,
) -> Result<ExitCode, CliError> {
    request.streams = Streams::Kept;
    let name = &reach.peer.name;
    let mut signals = Signals::new().map_err(|e| CliError::from(e).during("wait for signals"))?;
    let mut connections = Connections::new(reach, args.reconnect);
    let job = Job::new(tokio::io::sink(), tokio::io::sink());
    let nothing = None::<tokio::io::Empty>;
    let outcome = crate::run::run(&mut connections, &mut signals, &request, &job, nothing).await;
    connections.finish().await;
    let error = match &outcome {
        Outcome::Detached => None,
        other => report::error(other, reach, &request).map(|error| {
            error.hint(format!("lariat jobs {name}, to see whether job {} is there", request.job))
        }),
    };
    if args.json {
        let (ok, error) = (error.is_none(), error.map(|error| error.line()));
        let job = Some(request.job.to_string()).filter(|_| ok);
        let state = job.as_ref().map(|_| "running");
        object(&JobResult { job, state, detached: true, error, ..JobResult::none(name) })?;
        return Ok(ExitCode::from(if ok { 0 } else { EXIT_FAILURE }));
    }
    match (outcome, error) {
        (Outcome::Detached, _) => output::line(&format!("{name}: started job {}", request.job))?,
        (outcome, error) => {
            if let Some(error) = error {
                error.report(context.verbose);
            }
            return Ok(ExitCode::from(report::status(&outcome)));
        }
    }
    Ok(ExitCode::SUCCESS)
}
