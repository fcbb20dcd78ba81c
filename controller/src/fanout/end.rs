//! How a verb ended on a host.

use lariat_client::ConnectError;
use lariat_wire::protocol::failure::Failure;
use serde::{Deserialize, Serialize};

use crate::error::CliError;

/// How it ended on one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum End {
    /// Success.
    Ok,
    /// The work did not begin, because too many other hosts failed or the fan-out was interrupted.
    NotStarted,
    /// The work began and its end is not known: it is under way, or was left.
    Unfinished,
    /// The command failed.
    Failed,
    /// The time limit was over.
    #[serde(rename = "timeout")]
    TimedOut,
    /// Lariat failed there, or here on behalf of that host: the command did not run, or a file was not moved.
    #[serde(rename = "error")]
    Errored,
    /// The host could not be reached, or was lost on the way.
    Unreachable,
    /// The host refused.
    Refused,
}

impl End {
    /// The word for it, in summaries.
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

    /// The error of a host of which nothing came.
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
        if failure.is_refusal() { Self::Refused } else { Self::Errored }
    }
}
