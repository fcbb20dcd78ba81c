//! How a transfer of one file reports its progress.

/// Observes a transfer, from the thread that it runs on. All counts are bytes.
pub trait Progress {
    /// The transfer begins: the file's size, if it is known, and how much of it the receiver has already.
    fn begin(&self, size: Option<u64>, have: u64);
    /// More bytes have been sent or received.
    fn moved(&self, bytes: u64);
    /// So many chunks are sent, or came, once more.
    fn again(&self, _why: Again, _chunks: u64) {}
}

/// Why a chunk is sent once more. Each end counts what it knows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// A cut connection had brought only its beginning: the rest is sent.
    Cut,
    /// What the receiver has of an earlier attempt, or of its basis, differs.
    Differs,
    /// The lane that had sent it was lost.
    Lane,
}

/// Observes nothing.
pub struct Unwatched;

impl Progress for Unwatched {
    fn begin(&self, _size: Option<u64>, _have: u64) {}
    fn moved(&self, _bytes: u64) {}
}
