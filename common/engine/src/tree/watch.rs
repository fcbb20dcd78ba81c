//! How a tree's transfer reports what happens, and what it counts.

use crate::progress::{Again, Progress};
use lariat_wire::protocol::failure::{Cause, Failure, FileKind};
use lariat_wire::protocol::tree::Change;

/// Observes a tree's transfer, from the thread that it runs on.
pub trait Watch {
    /// Files with this many bytes more belong to the tree.
    fn listed(&self, bytes: u64);
    /// The receiver had this many bytes of files already.
    fn had(&self, bytes: u64);
    /// More bytes have been sent or received.
    fn moved(&self, bytes: u64);
    /// So many chunks of large files are sent, or came, once more.
    fn again(&self, _why: Again, _chunks: u64) {}
    /// Something could not be read or written, at this end or the other. The rest continues.
    fn missed(&self, failure: &Failure, side: Side);
    /// A name, by its path relative to the root, of a kind that is not transferred.
    fn skipped(&self, path: &[u8], kind: FileKind);
    /// A name, by its path relative to the root, that an earlier source has brought.
    fn taken(&self, _path: &[u8]) {}
    /// A name, by its path relative to the root, whose ACL is not transferred because nobody asked for it.
    fn acl_dropped(&self, path: &[u8]);
    /// A change that a dry run would make.
    fn changed(&self, change: &Change);
    /// Whether the receiver sends changes to the sender too. The operator's own end does not reveal its paths.
    fn tells_sender(&self) -> bool {
        true
    }
}

/// The end that something happened at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This one.
    Here,
    /// The other one, which said so.
    There,
}

/// What one end did, whether the transfer succeeded or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes of bodies on the wire.
    pub sent: u64,
    /// Bytes of files that the bodies encode.
    pub moved: u64,
    /// The file, by its path relative to the root, whose failure ended the connection. The next attempt should
    /// avoid it.
    pub aborted_by: Option<(Vec<u8>, Failure)>,
}

impl Counts {
    /// Records the file whose failure ended the connection, unless the transfer was to end anyway.
    pub(super) fn abort(&mut self, path: Vec<u8>, failure: &Failure) {
        if !matches!(failure.cause, Cause::Stopping | Cause::Superseded) {
            self.aborted_by = Some((path, failure.clone()));
        }
    }
}

/// Reports the progress of one large file to the tree's observer.
pub(super) struct FileProgress<'a>(pub(super) &'a dyn Watch);

impl Progress for FileProgress<'_> {
    fn begin(&self, _size: Option<u64>, have: u64) {
        self.0.had(have);
    }

    fn moved(&self, bytes: u64) {
        self.0.moved(bytes);
    }

    fn again(&self, why: Again, chunks: u64) {
        self.0.again(why, chunks);
    }
}
