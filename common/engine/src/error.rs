//! Why a transfer failed, and whose fault it is.

use std::io;

use crate::metadata::xattrs::ONLY_OF_USERS;
use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::{Action, Cause, Failure};

/// Why a transfer failed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// On this end: a file could not be read or written, or the transfer was ended here.
    #[error("{0}")]
    Local(Failure),
    /// On the other end, which said so.
    #[error("{0}")]
    Remote(Failure),
    /// The other end can't send this file of a tree; the others continue.
    #[error("{0}")]
    Missed(Failure),
    /// The connection failed, or the peer broke a rule.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl From<Failure> for TransferError {
    fn from(failure: Failure) -> Self {
        Self::Local(failure)
    }
}

impl TransferError {
    /// The peer broke a rule.
    pub fn misbehaved(what: &'static str) -> Self {
        Self::Link(LinkError::Misbehaved(what))
    }
}

/// Turns an I/O error into a [`Failure`] of an action on a path.
pub(crate) fn failed(action: Action, path: &[u8]) -> impl Fn(io::Error) -> Failure {
    move |error| {
        let failure = Failure::io(action, path, &error);
        match failure.cause {
            Cause::Os(errno) => Failure { cause: cause(errno), ..failure },
            _ => failure,
        }
    }
}

/// Turns an error of `rustix` into a [`Failure`] of an action on a path.
pub(crate) fn sys_failed(action: Action, path: &[u8]) -> impl Fn(rustix::io::Errno) -> Failure {
    move |errno| Failure { action, path: Some(path.to_vec()), cause: cause(errno.raw_os_error()) }
}

/// The cause of an errno. `E2BIG` comes only from the calls for extended attributes here.
fn cause(errno: i32) -> Cause {
    const TOO_LONG: i32 = rustix::io::Errno::TOOBIG.raw_os_error();
    const FOREIGN: i32 = ONLY_OF_USERS.raw_os_error();
    match errno {
        TOO_LONG => Cause::XattrsTooLarge,
        FOREIGN => Cause::BadRequest(
            "it has extended attributes besides user.*, and in a key's directories these alone go with -X".into(),
        ),
        errno => Cause::Os(errno),
    }
}
