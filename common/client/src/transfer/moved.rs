//! How much one attempt at a file or a directory moved.

use lariat_engine::Transferred;
use lariat_engine::tree::Counts;
use lariat_wire::protocol::transfer::Hash;
use lariat_wire::protocol::tree::{Changed, Settled};

/// What an attempt moved.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moved {
    /// Bytes on the wire.
    pub sent: u64,
    /// Bytes of the file that they stand for.
    pub bytes: u64,
    /// The files' size in bytes.
    pub size: u64,
    /// The most connections that an attempt used.
    pub streams: usize,
    /// How many files.
    pub files: u64,
    /// What was changed.
    pub done: Changed,
    /// Bytes of a file that its receiver had when it began to move; `None` for a tree, or if it has not begun.
    pub had: Option<u64>,
    /// The BLAKE3 of a file that was verified.
    pub hash: Option<Hash>,
}

impl From<Transferred> for Moved {
    fn from(Transferred { sent, moved, size, changed, hash }: Transferred) -> Self {
        let done = Changed::file(changed);
        Self { sent, bytes: moved, size, streams: 1, files: 1, done, had: None, hash }
    }
}

impl From<&Counts> for Moved {
    fn from(counts: &Counts) -> Self {
        Self { sent: counts.sent, bytes: counts.moved, streams: 1, ..Self::default() }
    }
}

impl Moved {
    /// Takes over the final counts of a tree.
    pub fn settled(&mut self, settled: &Settled) {
        (self.files, self.size, self.done) = (settled.files, settled.bytes, settled.done);
    }

    /// Whether nothing has moved.
    pub fn is_nothing(&self) -> bool {
        self.bytes == 0
    }
}
