//! What all requests that move files have in common.

use lariat_engine::TransferError;
use lariat_engine::tree::{Side, Watch};
use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::{Failure, FileKind};
use lariat_wire::protocol::tree::Change;
use tracing::debug;

use crate::core::Outcome;

/// A tree's transfer that nobody here looks at, but for the log.
pub(super) struct Logged;

impl Watch for Logged {
    fn listed(&self, _bytes: u64) {}

    fn had(&self, _bytes: u64) {}

    fn moved(&self, _bytes: u64) {}

    fn missed(&self, failure: &Failure, side: Side) {
        // What the controller misses is its own to tell.
        if side == Side::Here {
            debug!("missed: {failure}");
        }
    }

    fn skipped(&self, _path: &[u8], _kind: FileKind) {}

    fn acl_dropped(&self, _path: &[u8]) {}

    fn changed(&self, _change: &Change) {}
}

/// How a transfer ended. One that failed at this end has told its peer.
pub(super) fn transfer_ended(outcome: Result<String, TransferError>) -> Result<Outcome, LinkError> {
    match outcome {
        Ok(summary) => Ok(Outcome::Done(summary)),
        Err(
            TransferError::Local(failure)
            | TransferError::Remote(failure)
            | TransferError::Missed(failure),
        ) => Ok(Outcome::Over(failure.to_string())),
        Err(TransferError::Link(error)) => Err(error),
    }
}
