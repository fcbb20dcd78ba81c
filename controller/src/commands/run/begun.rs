//! What a plan writes down of a step's commands, so that the next controller does not run one of them twice.

use std::cell::Cell;
use std::time::Duration;

use lariat_base::name::JobId;
use lariat_client::run::{JobStatus, Outcome, RunError};
use lariat_wire::protocol::exec::End;
use lariat_wire::protocol::failure::Cause;

use crate::error::CliError;

/// A command that another controller has begun.
#[derive(Clone, Copy)]
pub(crate) struct Before {
    /// Which of the step's commands it is.
    pub(crate) command: usize,
    /// As what it was asked for.
    pub(crate) job: JobId,
    /// How long ago, if that can be said.
    pub(crate) ago: Option<Duration>,
    /// One of the step's commands before it has failed.
    pub(crate) has_failed: bool,
}

/// A step of a plan on one host.
pub(crate) struct StepLog<'a> {
    /// Writes down that this one of its commands is asked for next, as this job, and whether one before it
    /// has failed.
    pub(crate) begins: &'a dyn Fn(usize, JobId, bool) -> Result<(), CliError>,
    /// What was begun before.
    pub(crate) before: Option<Before>,
    /// Tells a person something.
    pub(crate) note: &'a dyn Fn(&str),
    /// How all that was begun ended is known.
    pub(crate) is_settled: Cell<bool>,
}

impl StepLog<'_> {
    /// Takes down what is known of a command that was begun.
    pub(super) fn ended(&self, outcome: &Outcome) {
        self.is_settled.set(is_known(outcome));
    }
}

/// Whether it is known how a command ended, or that it never began.
fn is_known(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Ended(_) | Outcome::Detached | Outcome::Left { running: false, .. } => true,
        Outcome::Left { .. } | Outcome::NoReader | Outcome::Overdue => false,
        Outcome::Failed(error) => match error {
            RunError::Connect(_, fate) | RunError::Broken(_, fate) => *fate == JobStatus::NotAsked,
            // The host itself has said that nothing more can be known.
            RunError::Failed(_) | RunError::Restarted(_) | RunError::Lost(_) => true,
            RunError::Local { .. } => false,
        },
    }
}

/// Why a command that was begun before did not come to an end of its own, or nobody can say how: it is tried
/// again then.
pub(super) fn did_not_finish(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Ended(End::Signaled(signal)) => Some(format!("it was ended by signal {signal}")),
        Outcome::Ended(End::GraceExpired) => {
            Some("it was ended, for nobody came back within its grace time".to_owned())
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
    fn what_is_not_known_stays_to_be_looked_for_and_what_did_not_finish_is_tried_again() {
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
