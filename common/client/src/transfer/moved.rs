//! The counts of one attempt at a file or a directory.

use lariat_engine::Transferred;
use lariat_engine::tree::Counts;
use lariat_wire::protocol::transfer::Hash;
use lariat_wire::protocol::tree::{Changed, Settled};

/// The counts of an attempt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moved {
    /// Bytes on the wire.
    pub sent: u64,
    /// Bytes of the file that those encode.
    pub bytes: u64,
    /// The files' size in bytes.
    pub size: u64,
    /// The most connections that an attempt used.
    pub streams: usize,
    /// The most connections that the key may have, if more were asked for.
    pub allowed: Option<usize>,
    /// How many files.
    pub files: u64,
    /// The changes that were made.
    pub done: Changed,
    /// Bytes of a file that its receiver had when the transfer began; `None` for a tree, or if it has not
    /// begun.
    pub had: Option<u64>,
    /// The BLAKE3 of a file that was verified.
    pub hash: Option<Hash>,
}

/// Counts what an attempt moves, and tells so at its end, also when it is cancelled in its middle.
pub(super) struct Counting<'a, C, F: Fn(&C) -> Moved> {
    pub(super) counts: C,
    moved: &'a mut Moved,
    as_moved: F,
}

impl<'a, C: Default, F: Fn(&C) -> Moved> Counting<'a, C, F> {
    /// Counts from nothing on.
    pub(super) fn new(moved: &'a mut Moved, as_moved: F) -> Self {
        Self { counts: C::default(), moved, as_moved }
    }
}

impl<C, F: Fn(&C) -> Moved> Drop for Counting<'_, C, F> {
    fn drop(&mut self) {
        *self.moved = (self.as_moved)(&self.counts);
    }
}

impl From<Transferred> for Moved {
    fn from(Transferred { sent, moved, size, changed, hash }: Transferred) -> Self {
        let done = Changed::file(changed);
        Self { sent, bytes: moved, size, streams: 1, files: 1, done, hash, ..Self::default() }
    }
}

impl From<&Counts> for Moved {
    fn from(counts: &Counts) -> Self {
        Self { sent: counts.sent, bytes: counts.moved, streams: 1, ..Self::default() }
    }
}

impl Moved {
    /// Sets the final counts of a tree.
    pub fn settled(&mut self, settled: &Settled) {
        (self.files, self.size, self.done) = (settled.files, settled.bytes, settled.done);
    }

    /// Whether nothing was transferred.
    pub fn is_nothing(&self) -> bool {
        self.bytes == 0
    }
}
