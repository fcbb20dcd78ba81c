//! Why a command was not followed to its end, and what is to be said of the command then.

use std::fmt;
use std::io;

use lariat_base::os_error::io_error;
use lariat_wire::protocol::failure::Failure;

use super::session::Broken;
use crate::connect::ConnectError;

/// Why a command was not followed to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The host was not reached.
    #[error("{0}{1}")]
    Connect(#[source] ConnectError, Fate),
    /// The agent could not do it.
    #[error("{0}")]
    Failed(Failure),
    /// The connection broke, or the agent is stopping.
    #[error("{0}{1}")]
    Broken(#[source] Broken, Fate),
    /// The host has started anew since the command was asked for.
    #[error("the host was restarted meanwhile{0}")]
    Restarted(Fate),
    /// The agent knows nothing of the job.
    #[error("the agent knows nothing of the command any more{0}")]
    Lost(Fate),
    /// One of this process's own streams failed.
    #[error("{doing}: {}", io_error(.cause))]
    Local {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        cause: io::Error,
    },
}

/// What is known of a command that can't be followed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was never asked for.
    NotAsked,
    /// It was asked for, and nothing was heard of it.
    Unknown,
    /// It was running.
    Started,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAsked => "",
            Self::Unknown => "; it is not known whether the command ran",
            Self::Started => "; the command was running, and how it ended is not known",
        })
    }
}
