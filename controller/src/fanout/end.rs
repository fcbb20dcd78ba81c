//! Classifies how a verb ended on a host.

use lariat_client::ConnectError;
use lariat_wire::protocol::failure::{Cause, Failure};
use serde::{Deserialize, Serialize};

use crate::error::CliError;

/// How a verb ended on one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum End {
    /// Success.
    Ok,
    /// The work did not begin, because too many other hosts failed or the fan-out was interrupted.
    NotStarted,
    /// The work began and its outcome is not known: it is in progress, or was abandoned.
    Unfinished,
    /// The command failed.
    Failed,
    /// The time limit was exceeded.
    #[serde(rename = "timeout")]
    TimedOut,
    /// Lariat failed on the host, or locally on its behalf: the command did not run, or a file was not
    /// transferred.
    #[serde(rename = "error")]
    Errored,
    /// The host could not be reached, or the connection was lost.
    Unreachable,
    /// The host refused.
    Refused,
}

impl End {
    /// The word for it in summaries.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotStarted => "not started",
            Self::Unfinished => "unfinished",
            Self::Failed | Self::Errored => "failed",
            Self::TimedOut => "timed out",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
        }
    }

    /// The `kind` of objects.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotStarted => "not-started",
            Self::Unfinished => "unfinished",
            Self::Failed | Self::Errored => "failed",
            Self::TimedOut => "timeout",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
        }
    }

    /// The error of a host without an outcome.
    pub(crate) fn error(self) -> CliError {
        let error = CliError::new(match self {
            Self::Unfinished => "left, and how it ended is not known",
            other => other.word(),
        });
        error.counting_as(self)
    }
}

impl From<&ConnectError> for End {
    fn from(error: &ConnectError) -> Self {
        if error.is_refusal() { Self::Refused } else { Self::Unreachable }
    }
}

impl From<&Failure> for End {
    fn from(failure: &Failure) -> Self {
        // A limit of the key refuses it too, although it may be tried again.
        let is_at_limit = matches!(failure.cause, Cause::AtLimit(_));
        if failure.is_refusal() || is_at_limit { Self::Refused } else { Self::Errored }
    }
}
