//! What the receiver's threads report to the one that has the connection.

use tokio::sync::oneshot;

use super::decided::{BadManifest, Decided};
use super::deferred::Deferred;
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::tree::{Change, Changed};

/// One report.
pub(super) enum Event {
    /// A message of entries was compared.
    Decided(Decided),
    /// The manifest is refused.
    Bad(BadManifest),
    /// The manifest is complete. This is left to do.
    Listed(Box<Deferred>),
    /// More files are written: how many, and their bytes. Some still wait for their final rename.
    Written(u64, u64),
    /// Something could not be done. The rest goes on.
    Missed(Failure),
    /// A writer thread has written everything.
    WriterEnded,
    /// Names that a dry run would delete. The sender is signalled once they were passed on.
    Deletes(Vec<Change>, oneshot::Sender<()>),
    /// Everything is done and on disk: how many files are links to others, and what was changed.
    Finished(u64, Changed),
}
