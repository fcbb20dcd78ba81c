//! Reports a command's outcome: its exit status, error line and object.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use lariat_base::escape::escape;
use lariat_base::name::{HostName, JobId};
use lariat_client::HostHandle;
use lariat_client::run::{JobStatus, Outcome, RunError};
use lariat_wire::protocol::exec::{End, Run, Streams};

use super::not_run;
use crate::capture::Captured;
use crate::error::CliError;
use crate::fanout::{self, Ended, OutFile, Sink};
use crate::output::json::{self, RunResult};
use crate::signal_name::signal_name;
use crate::status;
use crate::template::Template;

/// The exit status for an outcome.
pub(crate) fn status(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Ended(end) => end.status(),
        Outcome::Detached => 0,
        Outcome::Left { signal, .. } => status::signal(*signal),
        Outcome::NoReader => status::NO_READER,
        Outcome::Overdue => status::TIMEOUT,
        Outcome::Failed(_) => status::FAILURE,
    }
}

/// The error to report for `verb`, unless the command itself failed.
pub(crate) fn error(
    verb: &str,
    outcome: &Outcome,
    handle: &HostHandle,
    request: &Run,
) -> Option<CliError> {
    let error = failure(verb, outcome, handle, request)?;
    let job = left_there(outcome, request);
    let look = |job| format!("lariat jobs {} {job}, if it may have been started", handle.name());
    Some(job.map(look).into_iter().fold(error, CliError::hint))
}

fn failure(verb: &str, outcome: &Outcome, handle: &HostHandle, request: &Run) -> Option<CliError> {
    let name = handle.name();
    let user = request.user.as_ref().map(|user| format!(" as {user}")).unwrap_or_default();
    let on = format!("{verb} on {name}{user}");
    Some(match outcome {
        Outcome::Ended(End::TimedOut) => timed_out(request)?.during(name),
        Outcome::Ended(End::NotRun(errno)) => not_run::error(request, *errno, name).during(on),
        Outcome::Ended(end) => {
            let error = CliError::new(ended_by_host(*end)?).during(on);
            match end {
                End::GraceExpired => error.hint("a longer --reconnect gives it more"),
                _ => error,
            }
        }
        Outcome::Detached | Outcome::NoReader | Outcome::Left { running: false, .. } => {
            return None;
        }
        Outcome::Left { .. } if request.streams == Streams::Detached => {
            CliError::new("disconnected before the agent confirmed the job").during(on)
        }
        Outcome::Left { running: true, .. } => {
            let grace = Duration::from_millis(request.grace_ms).as_secs_f32();
            let message = format!("left; what still runs there is ended in {grace} s");
            CliError::new(message).during(on)
        }
        Outcome::Overdue => {
            let limit = Duration::from_millis(request.timeout_ms.unwrap_or_default());
            let error = CliError::timed_out(limit).during(on);
            let error = error
                .and("the host does not say that the command has ended: it may still run there");
            error.hint(attach(handle, request))
        }
        // The error names the host and its address, and whether the command may have run.
        Outcome::Failed(error @ RunError::Connect(..)) => {
            let line = CliError::from(error).before(&format!("{verb} on"));
            found_again(line, error, handle, request)
        }
        Outcome::Failed(error) => {
            let user = if let RunError::Failed(_) = error { user } else { String::new() };
            let line = CliError::from(error).during(format!("{verb} on {}{user}", handle.place()));
            found_again(line, error, handle, request)
        }
    })
}

/// Why the host ended a command, if it did.
pub(crate) fn ended_by_host(end: End) -> Option<&'static str> {
    match end {
        End::GraceExpired => {
            Some("the command was ended on the host: no client reconnected within its grace time")
        }
        End::Stopped => Some(
            "the host ended the command: it goes down, or the job's supervisor was told to stop",
        ),
        End::Exited(_) | End::Signaled(_) | End::TimedOut | End::NotRun(_) => None,
    }
}

/// Adds a hint how to attach to a job whose connection was lost.
fn found_again(line: CliError, error: &RunError, handle: &HostHandle, request: &Run) -> CliError {
    let may_be_there = matches!(
        error,
        RunError::Connect(_, JobStatus::Started | JobStatus::Unknown)
            | RunError::Broken(_, JobStatus::Started | JobStatus::Unknown)
    );
    // A shell can't be attached to again.
    let is_terminal = matches!(request.streams, Streams::Terminal { .. });
    if may_be_there && !is_terminal { line.hint(attach(handle, request)) } else { line }
}

/// The command line that reports how a command ended, with the rest of its output.
fn attach(handle: &HostHandle, request: &Run) -> String {
    format!("lariat attach {} {}", handle.name(), request.job)
}

/// The error of an object, which has no status of its own for a time limit.
pub(crate) fn json_error(
    outcome: &Outcome,
    handle: &HostHandle,
    request: &Run,
) -> Option<CliError> {
    match outcome {
        Outcome::Ended(End::TimedOut) => timed_out(request),
        Outcome::Left { running: false, .. } => Some(fanout::End::NotStarted.error()),
        _ => error("run", outcome, handle, request),
    }
}

/// The error for an exceeded time limit.
fn timed_out(request: &Run) -> Option<CliError> {
    Some(CliError::timed_out(Duration::from_millis(request.timeout_ms?)))
}

/// The id of a detached job that is running, or may be.
pub(crate) fn left_there(outcome: &Outcome, request: &Run) -> Option<JobId> {
    let may_run = match outcome {
        Outcome::Detached | Outcome::NoReader | Outcome::Overdue => true,
        Outcome::Left { running, .. } => *running,
        Outcome::Failed(
            RunError::Connect(_, fate)
            | RunError::Broken(_, fate)
            | RunError::Restarted(fate)
            | RunError::Lost(fate),
        ) => *fate != JobStatus::NotAsked,
        Outcome::Ended(_) | Outcome::Failed(RunError::Failed(_) | RunError::Local { .. }) => false,
    };
    (may_run && request.streams == Streams::Detached).then_some(request.job)
}

/// A command's outcome and output.
pub(crate) struct Said<'a> {
    pub(crate) host: &'a HostName,
    /// The command line, if it is one of several.
    pub(crate) command: Option<&'a [u8]>,
    pub(crate) stdout: &'a Captured,
    pub(crate) stderr: &'a Captured,
    /// Its job id, if it is detached and was, or may have been, started.
    pub(crate) job: Option<JobId>,
}

impl<'a> Said<'a> {
    /// The JSON object.
    pub(crate) fn result(
        &self,
        outcome: &Outcome,
        took: Duration,
        error: Option<CliError>,
    ) -> RunResult<'a> {
        let (exit, signal) = match outcome {
            Outcome::Ended(End::NotRun(_)) => (None, None),
            Outcome::Ended(End::Signaled(signal)) => (Some(status(outcome)), Some(*signal)),
            Outcome::Ended(_) | Outcome::Overdue => (Some(status(outcome)), None),
            _ => (None, None),
        };
        RunResult {
            host: self.host,
            command: self.command,
            ok: matches!(outcome, Outcome::Ended(End::Exited(0)) | Outcome::Detached),
            end: end(outcome),
            exit,
            signal,
            output: Captured::streams(self.stdout, self.stderr),
            seconds: took.as_secs_f64(),
            error: error.map(|error| error.line()),
            job: self.job,
        }
    }
}

/// The object of a host that could not be asked.
pub(crate) fn nothing(host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
    json::line(&RunResult {
        host,
        command: None,
        ok: false,
        end: error.end(),
        exit: None,
        signal: None,
        output: json::Streams { stdout: &[], stderr: &[], truncated: false, replaced: 0 },
        seconds: 0.0,
        error: Some(error.line()),
        job: None,
    })
}

/// A host's result in a fan-out; `line` is the command line if it is one of several.
pub(crate) fn ended(
    outcome: &Outcome,
    handle: &HostHandle,
    request: &Run,
    line: Option<&[u8]>,
) -> Ended {
    let said = match outcome {
        Outcome::Ended(End::Exited(0) | End::NotRun(_)) => None,
        Outcome::Ended(End::Exited(status)) => Some(format!("exit {status}")),
        Outcome::Ended(End::Signaled(signal)) => Some(format!("ended by {}", signal_name(*signal))),
        Outcome::Ended(End::TimedOut) => json_error(outcome, handle, request).map(|e| e.line()),
        // The error contains it.
        _ => None,
    };
    let said = said.map(|said| match line {
        Some(line) => format!("{said}: {}", escape(line)),
        None => said,
    });
    Ended {
        end: end(outcome),
        exit: matches!(outcome, Outcome::Ended(_)).then(|| status(outcome)),
        said,
        // The time limit is reported as the command's outcome already.
        errors: match outcome {
            Outcome::Ended(End::TimedOut) => Vec::new(),
            _ => error("run", outcome, handle, request).into_iter().collect(),
        },
        ..Ended::ok()
    }
}

fn end(outcome: &Outcome) -> fanout::End {
    match outcome {
        Outcome::Ended(End::Exited(0)) | Outcome::Detached => fanout::End::Ok,
        Outcome::Left { running: false, .. } => fanout::End::NotStarted,
        Outcome::Ended(End::TimedOut) | Outcome::Overdue => fanout::End::TimedOut,
        Outcome::Ended(_) | Outcome::Left { .. } | Outcome::NoReader => fanout::End::Failed,
        Outcome::Failed(error) => match error {
            RunError::Connect(error, _) => error.into(),
            RunError::Failed(failure) => failure.into(),
            RunError::Local { .. } => fanout::End::Errored,
            RunError::Broken(..) | RunError::Restarted(_) | RunError::Lost(_) => {
                fanout::End::Unreachable
            }
        },
    }
}

/// Opens the files for a host's stdout and stderr.
pub(crate) fn open(out: &Template, host: &HostName) -> Result<(Sink, Sink), CliError> {
    let (stdout, stderr) = files(out, host);
    Ok((Sink::File(OutFile::new(stdout, true)?), Sink::File(OutFile::new(stderr, false)?)))
}

/// The files for a host's stdout and stderr: inside `out`, or where `{host}` in it places them.
fn files(out: &Template, host: &HostName) -> (PathBuf, PathBuf) {
    let mut stdout = PathBuf::from(OsString::from_vec(out.for_host(host)));
    if !out.names_host() {
        stdout.push(host.as_str());
    }
    let mut stderr = stdout.clone().into_os_string();
    stderr.push(".err");
    (stdout, stderr.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_files_of_its_own() {
        let files =
            |out: &str| files(&Template::parse(out.as_bytes()).unwrap(), &"web1".parse().unwrap());
        assert_eq!(files("logs/"), ("logs/web1".into(), "logs/web1.err".into()));
        assert_eq!(files("a/{host}/log"), ("a/web1/log".into(), "a/web1/log.err".into()));
    }
}
