//! Why a command was not followed to its end, and what is known of the command then.

use std::fmt;
use std::io;

use lariat_base::os_error::io_error;
use lariat_wire::protocol::failure::Failure;

use crate::broken::Broken;
use crate::connect::ConnectError;

/// Why a command was not followed to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The host was not reached.
    #[error("{0}{1}")]
    Connect(#[source] ConnectError, JobStatus),
    /// The agent could not do it.
    #[error("{0}")]
    Failed(Failure),
    /// The connection broke, or the agent is stopping.
    #[error("{0}{1}")]
    Broken(#[source] Broken, JobStatus),
    /// The host was restarted after the command was asked for.
    #[error("the host was restarted meanwhile{0}")]
    Restarted(JobStatus),
    /// The agent does not know the job.
    #[error("the agent knows nothing of the command any more{0}")]
    Lost(JobStatus),
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
pub enum JobStatus {
    /// It was never asked for.
    NotAsked,
    /// It was asked for, and the agent has not confirmed it.
    Unknown,
    /// It was running.
    Started,
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAsked => "",
            Self::Unknown => "; it is not known whether the command ran",
            Self::Started => "; the command was running, and how it ended is not known",
        })
    }
}
