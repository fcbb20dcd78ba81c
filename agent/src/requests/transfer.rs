//! What the requests that move files have in common.

use lariat_engine::tree::{Side, Watch};
use lariat_engine::{TransferError, Transferred};
use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::{Cause, Failure, FileKind};
use lariat_wire::protocol::tree::Change;
use tracing::debug;

use crate::core::Outcome;
use crate::files::Files;

/// Observes a tree's transfer, for the log only.
pub(super) struct Logged;

impl Watch for Logged {
    fn listed(&self, _bytes: u64) {}

    fn had(&self, _bytes: u64) {}

    fn moved(&self, _bytes: u64) {}

    fn missed(&self, failure: &Failure, side: Side) {
        // Failures at the controller's end are the controller's to report.
        if side == Side::Here {
            debug!("missed: {failure}");
        }
    }

    fn skipped(&self, _path: &[u8], _kind: FileKind) {}

    fn acl_dropped(&self, _path: &[u8]) {}

    fn changed(&self, _change: &Change) {}
}

/// The outcome of a transfer. A failure of this end has been reported to the peer already.
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

/// Does the dry run of a file, unless the session is to end: a large file takes its time to be read.
pub(super) async fn dry_run(
    files: &Files,
    work: impl Future<Output = Result<Transferred, TransferError>>,
) -> Result<Outcome, LinkError> {
    tokio::select! {
        done = Box::pin(work) => {
            transfer_ended(done.map(|done| format!("a dry run of {} bytes", done.size)))
        }
        () = files.stopped() => Ok(Outcome::Failed(Failure::request(Cause::Stopping))),
    }
}
