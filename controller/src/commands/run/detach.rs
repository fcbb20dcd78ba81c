//! `--detach`: a job that is started and then left alone.

use std::process::ExitCode;
use std::time::Instant;

use lariat_base::name::HostName;
use lariat_client::HostHandle;
use lariat_client::run::{self, Connections, Job, Outcome, Signals};
use lariat_wire::protocol::exec::Run;

use super::Args;
use crate::capture::Captured;
use crate::commands::report::{self, Said};
use crate::context::Context;
use crate::error::CliError;
use crate::output;
use crate::output::json::object;

/// Starts it on one host, and prints its id.
pub(super) async fn run(
    args: &Args,
    request: &Run,
    handle: &HostHandle,
    context: &Context,
) -> Result<ExitCode, CliError> {
    let name = handle.name();
    let began = Instant::now();
    let mut signals = Signals::new().map_err(|e| CliError::from(e).during("wait for signals"))?;
    let mut connections = Connections::new(handle);
    let job = Job::new(tokio::io::sink(), tokio::io::sink());
    let nothing = None::<tokio::io::Empty>;
    let outcome = run::run(&mut connections, &mut signals, request, &job, nothing).await;
    connections.finish().await;
    let job = report::left_there(&outcome, request);
    let error = if args.json {
        report::json_error(&outcome, handle, request)
    } else {
        report::error("run", &outcome, handle, request)
    };
    let error = error.map(|error| match job {
        Some(job) => error.hint(format!("lariat jobs {name} {job}, if it may have been started")),
        None => error,
    });
    if args.json {
        let nothing = &Captured::default();
        let said = Said { host: name, command: None, stdout: nothing, stderr: nothing, job };
        object(&said.result(&outcome, began.elapsed(), error))?;
    } else if let Outcome::Detached = outcome {
        output::bytes(told(name, request).as_bytes())?;
    } else if let Some(error) = error {
        error.report(context.verbose);
    }
    Ok(ExitCode::from(report::status(&outcome)))
}

/// One line about a job that was started, with its id as the last word.
pub(super) fn told(host: &HostName, request: &Run) -> String {
    format!("{host}: started job {}\n", request.job)
}
