//! What is told of a command: the exit status, the error line, the object.

use std::time::Duration;

use lariat_common::name::HostName;
use lariat_common::protocol::exec::{End, Run};

use super::Args;
use crate::error::{CliError, EXIT_FAILURE};
use crate::output::json::RunResult;
use crate::reach::Reach;
use crate::run::capture::Capture;
use crate::run::{Outcome, RunError, not_run};

/// What a process exits with that SIGPIPE has ended.
const EXIT_SIGPIPE: u8 = 128 + 13;

/// What to exit with.
pub(in crate::commands) fn status(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Ended(end) => end.status(),
        Outcome::Detached => 0,
        Outcome::Left { signal, .. } => 128 + signal,
        Outcome::NoReader => EXIT_SIGPIPE,
        Outcome::Failed(_) => EXIT_FAILURE,
    }
}

/// What went wrong, if it was not the command itself.
pub(in crate::commands) fn error(
    outcome: &Outcome,
    reach: &Reach,
    request: &Run,
) -> Option<CliError> {
    let name = &reach.peer.name;
    let on = format!("run on {name}");
    Some(match outcome {
        Outcome::Ended(End::NotRun(errno)) => CliError::from(not_run(request, *errno)).during(on),
        Outcome::Ended(_)
        | Outcome::Detached
        | Outcome::NoReader
        | Outcome::Left { running: false, .. } => {
            return None;
        }
        Outcome::Left { running: true, .. } => {
            let grace = Duration::from_millis(request.grace_ms).as_secs_f32();
            let message = format!("left; what still runs there is ended in {grace} s");
            CliError::new(message).during(on)
        }
        // It names the host and its address itself, and says if the command may have run.
        Outcome::Failed(error @ RunError::Connect(..)) => CliError::from(error).before("run on"),
        Outcome::Failed(error) => {
            CliError::from(error).during(format!("{on} ({})", reach.peer.address))
        }
    })
}

/// The same for an object, which has no status of its own for a time limit.
pub(super) fn json_error(outcome: &Outcome, reach: &Reach, request: &Run) -> Option<CliError> {
    match outcome {
        Outcome::Ended(End::TimedOut) => request.timeout_ms.map(|ms| {
            let limit = Duration::from_millis(ms).as_secs_f32();
            CliError::new(format!("it did not end within {limit} s"))
        }),
        _ => error(outcome, reach, request),
    }
}

/// A command and what it wrote.
pub(super) struct Said<'a> {
    pub(super) host: &'a HostName,
    /// The command, if it is one of several.
    pub(super) command: Option<&'a [u8]>,
    pub(super) stdout: &'a Capture,
    pub(super) stderr: &'a Capture,
}

impl<'a> Said<'a> {
    /// The object that tells it.
    pub(super) fn result(
        &self,
        outcome: &Outcome,
        took: Duration,
        error: Option<CliError>,
    ) -> RunResult<'a> {
        let (exit, signal) = match outcome {
            Outcome::Ended(End::NotRun(_)) => (None, None),
            Outcome::Ended(End::Signaled(signal)) => (Some(status(outcome)), Some(*signal)),
            Outcome::Ended(_) => (Some(status(outcome)), None),
            _ => (None, None),
        };
        RunResult {
            host: self.host,
            command: self.command,
            ok: matches!(outcome, Outcome::Ended(End::Exited(0))),
            exit,
            signal,
            stdout: &self.stdout.bytes,
            stderr: &self.stderr.bytes,
            truncated: self.stdout.truncated || self.stderr.truncated,
            seconds: took.as_secs_f64(),
            error: error.map(|error| error.line()),
        }
    }
}

/// The object for a host that can't even be looked for.
pub(super) fn unreached<'a>(args: &'a Args, error: &CliError) -> RunResult<'a> {
    RunResult {
        host: &args.target.host,
        command: None,
        ok: false,
        exit: None,
        signal: None,
        stdout: &[],
        stderr: &[],
        truncated: false,
        seconds: 0.0,
        error: Some(error.line()),
    }
}
