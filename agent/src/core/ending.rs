//! How a request ended, as its line in the audit tells it.

use std::time::Duration;

use lariat_base::os_error::os_error;
use lariat_wire::protocol::exec::{End, Exit};
use lariat_wire::protocol::failure::Failure;
use serde::Serialize;

use super::outcome::{Digests, Done, Outcome};
use crate::audit::{Digested, text};

/// How a request ended.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Ending {
    /// The number of the line of its beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    began: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blake3: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout: Option<Digested>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr: Option<Digested>,
}

impl Ending {
    /// The end of a request that was served.
    pub(super) fn of(began: Option<u64>, took: Duration, outcome: &Outcome) -> Self {
        let mut ending = match outcome {
            Outcome::Done(Done { files, bytes, sum, .. }) => {
                let blake3 = sum.map(hex::encode);
                Self { files: *files, bytes: *bytes, blake3, ..Self::default() }
            }
            Outcome::Exited(exit, digests) => Self::exited(*exit, *digests),
            Outcome::Failed(failure) => Self::refused(failure),
            Outcome::Over(why) => Self::error(why),
            Outcome::Abandoned => Self::error("the connection ended first"),
        };
        ending.began = began;
        ending.seconds = Some(seconds(took));
        ending
    }

    /// What is known of it at the beginning.
    pub(super) fn began(began: Option<u64>) -> Self {
        Self { began, ..Self::default() }
    }

    /// The end of a detached job; it died if it has no exit.
    pub(super) fn of_job(exit: Option<Exit>, took: Option<Duration>) -> Self {
        let died = || Self::error("the host or its supervisor was stopped");
        let ending = exit.map_or_else(died, |exit| Self::exited(exit, Digests::default()));
        Self { seconds: took.map(seconds), ..ending }
    }

    /// A request that was served when the agent was killed.
    pub(super) fn killed() -> Self {
        Self::error("the agent was killed first")
    }

    /// A request that was not served.
    pub(super) fn refused(failure: &Failure) -> Self {
        Self::error(&failure.to_string())
    }

    fn error(why: &str) -> Self {
        Self { error: Some(text(why.as_bytes())), ..Self::default() }
    }

    fn exited(Exit { end, stdout, stderr }: Exit, digests: Digests) -> Self {
        let bytes = Some(stdout.saturating_add(stderr));
        let ended = match end {
            End::Exited(status) => Self { exit: Some(status), ..Self::default() },
            End::Signaled(signal) => Self { signal: Some(signal), ..Self::default() },
            End::TimedOut => Self::error("its time limit was over"),
            End::NotRun(errno) => Self::error(&os_error(errno)),
            End::GraceExpired => Self::error("its controller was away for too long"),
            End::Stopped => Self::error("the host or its supervisor was stopped"),
        };
        let digested = |bytes, hash: Option<_>| hash.map(|hash| Digested::new(bytes, hash));
        Self {
            bytes,
            stdout: digested(stdout, digests.stdout),
            stderr: digested(stderr, digests.stderr),
            ..ended
        }
    }
}

/// As many digits as a clock is good for.
fn seconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e6
}
