//! What the requests that move files have in common.

use lariat_engine::tree::{Counts, Side, Watch};
use lariat_engine::{Again, TransferError, Transferred};
use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::{Failure, FileKind};
use lariat_wire::protocol::tree::{Change, Settled};
use tracing::debug;

use crate::core::{Done, Outcome};
use crate::files::Files;
use crate::meter::Meter;

/// Observes a tree's transfer: counts its bytes, and logs what was missed.
pub(super) struct Logged<'a>(pub(super) &'a Meter);

impl Watch for Logged<'_> {
    fn listed(&self, bytes: u64) {
        self.0.listed(bytes);
    }

    fn had(&self, bytes: u64) {
        self.0.had(bytes);
    }

    fn moved(&self, bytes: u64) {
        self.0.moved(bytes);
    }

    fn again(&self, why: Again, chunks: u64) {
        self.0.again(why, chunks);
    }

    fn missed(&self, failure: &Failure, side: Side) {
        self.0.failed(failure);
        // Failures at the controller's end are the controller's to report.
        if side == Side::Here {
            debug!("missed: {failure}");
        }
    }

    fn skipped(&self, _path: &[u8], _kind: FileKind) {}

    fn acl_dropped(&self, _path: &[u8]) {}

    fn changed(&self, _change: &Change) {}
}

/// What the transfer of a file did. `way` says what its bytes did: they came, or went.
pub(super) fn file_done(transferred: &Transferred, way: &str) -> Done {
    let Transferred { sent, moved, size, hash, .. } = *transferred;
    let text = format!("{size} bytes, of which {moved} {way}, as {sent}");
    Done { text, files: None, bytes: Some(size), sum: hash }
}

/// What the transfer of a tree did.
pub(super) fn tree_done(settled: &Settled, counts: &Counts, way: &str) -> Done {
    let (Settled { files, bytes, .. }, Counts { sent, moved, .. }) = (settled, counts);
    let text = format!("{files} files of {bytes} bytes, of which {moved} {way}, as {sent}");
    Done { text, files: Some(*files), bytes: Some(*bytes), sum: None }
}

/// The outcome of a transfer. A failure of this end has been reported to the peer already.
pub(super) fn transfer_ended(
    outcome: Result<Done, TransferError>,
    meter: &Meter,
) -> Result<Outcome, LinkError> {
    match outcome {
        Ok(done) => Ok(Outcome::Done(done)),
        Err(
            TransferError::Local(failure)
            | TransferError::Remote(failure)
            | TransferError::Missed(failure),
        ) => {
            meter.failed(&failure);
            Ok(Outcome::Over(failure.to_string()))
        }
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
            let done = done.map(|done| format!("a dry run of {} bytes", done.size).into());
            transfer_ended(done, &files.meter)
        }
        cause = files.stopped() => Ok(Outcome::Failed(Failure::request(cause))),
    }
}
