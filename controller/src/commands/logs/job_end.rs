//! How a job ended, as the result of a host: `attach` ends as the job does.

use lariat_base::name::HostName;
use lariat_base::os_error::os_error;
use lariat_wire::protocol::exec;
use lariat_wire::protocol::job::State;

use crate::commands::report;
use crate::error::CliError;
use crate::fanout::{End, Ended};
use crate::jobs;
use crate::output::json::JobResult;

/// The result on a host. On one host alone, the command's own exit needs no words.
pub(super) fn result(host: &HostName, state: State, is_alone: bool) -> Ended {
    match end(state) {
        End::Ok => Ended::ok(),
        end => {
            let error = error(state).map(|error| match state {
                State::Ended(exec::End::TimedOut) => error.during(host),
                _ => error.during(format!("attach on {host}")),
            });
            let (exit, said) = match state {
                State::Ended(end) => (Some(end.status()), Some(jobs::state(state))),
                State::Running | State::Died { .. } => (None, None),
            };
            // Of several hosts, the words for a job's end stand in the error's place.
            let errors = error.filter(|_| is_alone || said.is_none());
            Ended {
                end,
                exit,
                said,
                status: exit,
                errors: errors.into_iter().collect(),
                ..Ended::ok()
            }
        }
    }
}

/// A job's object as the result of `attach`.
pub(super) fn object(job: JobResult<'_>, state: State) -> JobResult<'_> {
    let end = end(state);
    let error = error(state).map(|error| error.line());
    JobResult { ok: end == End::Ok, kind: end.kind(), error, ..job }
}

fn end(state: State) -> End {
    match state {
        State::Ended(exec::End::Exited(0)) => End::Ok,
        State::Ended(exec::End::TimedOut) => End::TimedOut,
        State::Ended(_) => End::Failed,
        State::Died { .. } | State::Running => End::Errored,
    }
}

/// The error, unless the command itself failed.
fn error(state: State) -> Option<CliError> {
    let unknown = |why: &str| format!("{why}: how the command ended is not known");
    Some(CliError::new(match state {
        State::Ended(exec::End::TimedOut) => "timed out".to_owned(),
        State::Ended(exec::End::NotRun(errno)) => {
            format!("the command could not be run: {}", os_error(errno))
        }
        State::Ended(end) => report::ended_by_host(end)?.to_owned(),
        State::Died { with_host: true } => unknown("the job died when its host was restarted"),
        State::Died { with_host: false } => unknown("the process that watched over the job died"),
        State::Running => unknown("the agent says that the job still runs"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_as_the_job_does() {
        let host = "web1".parse().unwrap();
        let ended = |state, is_alone| {
            let Ended { end, exit, said, status, errors, .. } = result(&host, state, is_alone);
            assert_eq!(exit, status);
            let errors: Vec<String> = errors.iter().map(CliError::line).collect();
            (end, status, said.unwrap_or_default(), errors.join(", "))
        };
        let of = |end, is_alone| {
            let (end, status, said, error) = ended(State::Ended(end), is_alone);
            (end, status, if is_alone { error } else { format!("{said}{error}") })
        };
        for (end, alone, several) in [
            (exec::End::Exited(0), (End::Ok, None, ""), ""),
            (exec::End::Exited(3), (End::Failed, Some(3), ""), "exit 3"),
            (exec::End::Signaled(2), (End::Failed, Some(130), ""), "SIGINT"),
            (exec::End::TimedOut, (End::TimedOut, Some(124), "web1: timed out"), "timed out"),
            (
                exec::End::NotRun(2),
                (
                    End::Failed,
                    Some(127),
                    "attach on web1: the command could not be run: no such file or directory",
                ),
                "not run",
            ),
        ] {
            assert_eq!(of(end, true), (alone.0, alone.1, alone.2.to_owned()));
            assert_eq!(of(end, false), (alone.0, alone.1, several.to_owned()));
        }
        for unknown in [State::Died { with_host: true }, State::Running] {
            let (end, status, said, error) = ended(unknown, false);
            assert_eq!((end, status, said.as_str()), (End::Errored, None, ""));
            assert!(error.starts_with("attach on web1: the "), "{error}");
        }
    }
}
