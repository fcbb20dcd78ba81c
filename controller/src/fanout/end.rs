//! How a verb ended on a host, and what that makes of many.

use lariat_common::protocol::failure::Failure;
use serde::{Deserialize, Serialize};

use crate::connect::ConnectError;
use crate::error::{CliError, EXIT_FAILURE};

/// What a fan-out exits with when a host failed that could be reached.
const EXIT_SOME_FAILED: u8 = 1;

/// How it ended on one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum End {
    /// As it should.
    Ok,
    /// It did not begin, because too many others failed or we were interrupted.
    NotStarted,
    /// It began, and how it ended was not heard of: it is under way, or was left.
    Unfinished,
    /// It failed, or its time was over.
    Failed,
    /// The host could not be reached, or was lost on the way.
    Unreachable,
    /// The host would not have us.
    Refused,
}

impl End {
    /// The word for it, in summaries.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotStarted => "not started",
            Self::Unfinished => "unfinished",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
        }
    }

    /// The error of a host of which nothing came.
    pub(crate) fn error(self) -> CliError {
        CliError::new(match self {
            Self::Unfinished => "left, and how it ended is not known",
            other => other.word(),
        })
    }

    /// The exit status of a fan-out that ended so on its hosts.
    pub(crate) fn status(ends: impl IntoIterator<Item = Self>) -> u8 {
        let status = |end| match end {
            Self::Ok => 0,
            Self::NotStarted | Self::Unfinished | Self::Failed => EXIT_SOME_FAILED,
            Self::Unreachable | Self::Refused => EXIT_FAILURE,
        };
        ends.into_iter().map(status).max().unwrap_or_default()
    }
}

impl From<&ConnectError> for End {
    fn from(error: &ConnectError) -> Self {
        if error.is_refusal() { Self::Refused } else { Self::Unreachable }
    }
}

impl From<&Failure> for End {
    fn from(failure: &Failure) -> Self {
        if failure.is_refusal() { Self::Refused } else { Self::Failed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_end_decides() {
        assert_eq!(End::status([]), 0);
        assert_eq!(End::status([End::Ok, End::Ok]), 0);
        assert_eq!(End::status([End::Ok, End::Failed]), 1);
        assert_eq!(End::status([End::NotStarted, End::Ok]), 1);
        assert_eq!(End::status([End::Unfinished, End::Ok]), 1);
        assert_eq!(End::status([End::Failed, End::Unreachable, End::Ok]), 255);
        assert_eq!(End::status([End::Refused]), 255);
    }
}
