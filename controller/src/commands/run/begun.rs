//! What a plan records of a step's commands, so that a later controller does not run one of them twice.

use std::cell::Cell;
use std::time::Duration;

use lariat_base::name::JobId;
use lariat_client::run::{JobStatus, Outcome, RunError};
use lariat_wire::protocol::exec::End;
use lariat_wire::protocol::failure::Cause;

use crate::error::CliError;
use crate::signal_name::signal_name;

/// A command that an earlier controller started.
#[derive(Clone, Copy)]
pub(crate) struct Before {
    /// The index of the command within the step.
    pub(crate) command: usize,
    /// The job id of its request.
    pub(crate) job: JobId,
    /// The time since then, if known.
    pub(crate) ago: Option<Duration>,
    /// An earlier command of the step has failed.
    pub(crate) has_failed: bool,
}

/// The record of a plan's step on one host.
pub(crate) struct StepLog<'a> {
    /// Records that this command is requested next, with this job id, and whether an earlier one has failed.
    pub(crate) begins: &'a dyn Fn(usize, JobId, bool) -> Result<(), CliError>,
    /// The command that was in progress before.
    pub(crate) before: Option<Before>,
    /// Shows a note to the user.
    pub(crate) note: &'a dyn Fn(&str),
    /// The outcome of every command that was started is known.
    pub(crate) is_settled: Cell<bool>,
}

impl StepLog<'_> {
    /// Records whether a command's outcome is known.
    pub(super) fn ended(&self, outcome: &Outcome) {
        self.is_settled.set(is_known(outcome));
    }
}

/// Whether it is known how a command ended, or that it was not started.
fn is_known(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Ended(_) | Outcome::Detached | Outcome::Left { running: false, .. } => true,
        Outcome::Left { .. } | Outcome::NoReader | Outcome::Overdue => false,
        Outcome::Failed(error) => match error {
            RunError::Connect(_, fate) | RunError::Broken(_, fate) => *fate == JobStatus::NotAsked,
            // The host itself reported that nothing more can be known.
            RunError::Failed(_) | RunError::Restarted(_) | RunError::Lost(_) => true,
            RunError::Local { .. } => false,
        },
    }
}

/// Why a command that was started before must be tried again: it did not end by itself, or its outcome is
/// unknown.
pub(super) fn did_not_finish(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Ended(End::Signaled(signal)) => {
            Some(format!("it was ended by {}", signal_name(*signal)))
        }
        Outcome::Ended(End::GraceExpired) => {
            Some("it was ended, because no client reconnected within its grace time".to_owned())
        }
        Outcome::Ended(End::Stopped) => Some("the host ended it".to_owned()),
        Outcome::Failed(error @ (RunError::Restarted(_) | RunError::Lost(_))) => {
            Some(error.to_string())
        }
        Outcome::Failed(RunError::Failed(failure)) => match failure.cause {
            Cause::NoSuchJob { .. }
            | Cause::Forgotten
            | Cause::Unwatched
            | Cause::BadRequest(_) => Some(failure.to_string()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use lariat_wire::protocol::failure::Failure;

    use super::*;

    #[test]
    fn unknown_outcomes_stay_recorded_and_unfinished_commands_are_retried() {
        let failed = |cause| Outcome::Failed(RunError::Failed(Failure::request(cause)));
        let broken = |fate| {
            let cut = lariat_wire::link::LinkError::Cut;
            Outcome::Failed(RunError::Broken(cut.into(), fate))
        };
        for (outcome, known, again) in [
            (Outcome::Ended(End::Exited(0)), true, false),
            (Outcome::Ended(End::Exited(9)), true, false),
            (Outcome::Ended(End::TimedOut), true, false),
            (Outcome::Ended(End::Signaled(15)), true, true),
            (Outcome::Ended(End::GraceExpired), true, true),
            (Outcome::Ended(End::Stopped), true, true),
            (Outcome::Overdue, false, false),
            (Outcome::Left { signal: 2, running: true }, false, false),
            (Outcome::Left { signal: 2, running: false }, true, false),
            (broken(JobStatus::Started), false, false),
            (broken(JobStatus::Unknown), false, false),
            (broken(JobStatus::NotAsked), true, false),
            (failed(Cause::NoSuchJob { up_ms: 1 }), true, true),
            (failed(Cause::Unwatched), true, true),
            (failed(Cause::Os(2)), true, false),
            (Outcome::Failed(RunError::Restarted(JobStatus::Unknown)), true, true),
        ] {
            assert_eq!(is_known(&outcome), known, "{outcome:?}");
            assert_eq!(did_not_finish(&outcome).is_some(), again, "{outcome:?}");
        }
    }
}
