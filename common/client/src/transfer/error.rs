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
    /// The agent refused, and is ready for the next request.
    #[error("{0}")]
    Refused(Failure),
    /// The receiver is this end, and it failed.
    #[error("here: {0}")]
    Here(Failure),
    /// The destination was a stream, and its reader has gone.
    #[error("nobody reads it any more")]
    NoReader,
    /// Paths in a directory were asked for, and the source is a file.
    #[error("paths of a directory are listed, and this is a file")]
    NotADirectory,
    /// The transfer itself stopped, for a reason of its own.
    #[error("stopped")]
    Stopped,
    /// One file of a tree ended the connection, and is avoided from now on.
    #[error("one file of it failed")]
    AbortedByFile,
    /// The connection was silent, and another one is there in its place.
    #[error("{}", LinkError::Silent)]
    Replaced(Box<Session>),
    /// Anything else. What is in flight on the session is not known.
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

    /// Classifies what the agent said before anything moved. An agent that is stopping takes no further request.
    pub fn refused(failure: Failure) -> Self {
        match failure.cause {
            Cause::Stopping => Self::Transfer(TransferError::Remote(failure)),
            _ => Self::Refused(failure),
        }
    }

    /// Classifies what ended the arrival of a file: this end itself, or the way here.
    pub(crate) fn arriving(error: TransferError) -> Self {
        match error {
            TransferError::Local(failure) => Self::Here(failure),
            error => Self::Transfer(error),
        }
    }

    /// Whether a later attempt may succeed. Reaching the host was tried as long as allowed already.
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
