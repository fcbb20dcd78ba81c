//! How much one attempt at a file or a directory moved.

use lariat_engine::Transferred;
use lariat_engine::tree::Counts;
use lariat_wire::protocol::tree::{Changed, Settled};

/// What an attempt moved.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moved {
    /// Bytes on the wire.
    pub(super) sent: u64,
    /// Bytes of the file that they stand for.
    pub(super) bytes: u64,
    /// The files' size in bytes.
    pub(super) size: u64,
    /// How many files.
    pub(super) files: u64,
    /// What was changed.
    pub(super) done: Changed,
}

impl From<Transferred> for Moved {
    fn from(Transferred { sent, moved, size, changed }: Transferred) -> Self {
        Self { sent, bytes: moved, size, files: 1, done: Changed::file(changed) }
    }
}

impl From<&Counts> for Moved {
    fn from(counts: &Counts) -> Self {
        Self { sent: counts.sent, bytes: counts.moved, ..Self::default() }
    }
}

impl Moved {
    /// What a tree has become.
    pub(crate) fn settled(&mut self, settled: &Settled) {
        (self.files, self.size, self.done) = (settled.files, settled.bytes, settled.done);
    }

    /// Whether nothing has moved.
    pub(crate) fn is_nothing(&self) -> bool {
        self.bytes == 0
    }
}
