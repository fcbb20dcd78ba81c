//! `--detach`: a job that is started and then left alone.

use std::process::ExitCode;

use lariat_common::name::HostName;
use lariat_common::protocol::exec::Run;

use super::{Args, report};
use crate::context::Context;
use crate::error::{CliError, EXIT_FAILURE};
use crate::output;
use crate::output::json::{JobResult, line};
use crate::reach::Reach;
use crate::run::{Connections, Job, Outcome, Signals};

/// Starts it on one host, and prints its id.
pub(super) async fn run(
    args: &Args,
    request: &Run,
    reach: &Reach,
    context: &Context,
) -> Result<ExitCode, CliError> {
    let name = &reach.peer.name;
    let mut signals = Signals::new().map_err(|e| CliError::from(e).during("wait for signals"))?;
    let mut connections = Connections::new(reach, args.reconnect);
    let job = Job::new(tokio::io::sink(), tokio::io::sink());
    let nothing = None::<tokio::io::Empty>;
    let outcome = crate::run::run(&mut connections, &mut signals, request, &job, nothing).await;
    connections.finish().await;
    if let Outcome::Detached = outcome {
        output::bytes(&told(name, request, args.json)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let hint = format!("lariat jobs {name} {}, if it may have been started", request.job);
    let error = report::error(&outcome, reach, request).map(|error| error.hint(hint));
    if args.json {
        let error = error.map_or_else(|| "ended by a signal".to_owned(), |error| error.line());
        output::json::object(&JobResult::failed(name, error))?;
        return Ok(ExitCode::from(EXIT_FAILURE));
    }
    if let Some(error) = error {
        error.report(context.verbose);
    }
    Ok(ExitCode::from(report::status(&outcome)))
}

/// One line about a job that was started, with its id as the last word.
pub(super) fn told(host: &HostName, request: &Run, json: bool) -> Result<Vec<u8>, CliError> {
    if !json {
        return Ok(format!("{host}: started job {}\n", request.job).into_bytes());
    }
    let job = Some(request.job.to_string());
    line(&JobResult { job, state: Some("running"), detached: true, ..JobResult::none(host) })
}
