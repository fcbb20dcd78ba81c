//! Why an attempt at a file or directory did not finish.

use lariat_engine::TransferError;
use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::{Cause, Failure};

use crate::backoff::is_broken_connection;
use crate::connect::{ConnectError, Session};

/// Why an attempt did not finish.
#[derive(thiserror::Error)]
pub enum AttemptError {
    /// The host was not reached.
    #[error(transparent)]
    Connect(ConnectError),
    /// The agent refused the request, and is ready for the next one.
    #[error("{0}")]
    Refused(Failure),
    /// The receiver is this end, and failed.
    #[error("here: {0}")]
    Here(Failure),
    /// The destination was a stream, and its reader is gone.
    #[error("nobody reads it any more")]
    NoReader,
    /// Paths in a directory were requested, and the source is a file.
    #[error("paths of a directory are listed, and this is a file")]
    NotADirectory,
    /// The transfer itself stopped, for a reason of its own.
    #[error("stopped")]
    Stopped,
    /// One file of a tree ended the connection, and is avoided from now on.
    #[error("one file of it failed")]
    AbortedByFile,
    /// The connection was silent, and another one has replaced it.
    #[error("{}", LinkError::Silent)]
    Replaced(Box<Session>),
    /// Anything else. The state of the session is not known.
    #[error(transparent)]
    Transfer(#[from] TransferError),
}

impl std::fmt::Debug for AttemptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AttemptError({self})")
    }
}

impl AttemptError {
    /// The connection has gone silent.
    pub(crate) fn silent() -> Self {
        Self::Transfer(LinkError::Silent.into())
    }

    /// Classifies the agent's refusal before the transfer began. An agent that is stopping takes no further
    /// request.
    pub fn refused(failure: Failure) -> Self {
        match failure.cause {
            Cause::Stopping => Self::Transfer(TransferError::Remote(failure)),
            _ => Self::Refused(failure),
        }
    }

    /// Classifies the failure of an incoming file: local, or of the connection.
    pub(crate) fn arriving(error: TransferError) -> Self {
        match error {
            TransferError::Local(failure) => Self::Here(failure),
            error => Self::Transfer(error),
        }
    }

    /// Whether a later attempt may succeed. Connecting was retried as long as allowed already.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::AbortedByFile | Self::Replaced(_) => true,
            Self::Transfer(TransferError::Link(error)) => is_broken_connection(error),
            Self::Transfer(TransferError::Remote(failure)) => failure.cause == Cause::Stopping,
            Self::Transfer(TransferError::Local(_) | TransferError::Missed(_))
            | Self::Connect(_)
            | Self::Refused(_)
            | Self::Here(_)
            | Self::NoReader
            | Self::NotADirectory
            | Self::Stopped => false,
        }
    }
}
