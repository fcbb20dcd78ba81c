//! How a transfer of one file reports its progress.

/// Observes a transfer, from the thread that it runs on. All counts are bytes.
pub trait Progress {
    /// The transfer begins: the file's size, if it is known, and how much of it the receiver has already.
    fn begin(&self, size: Option<u64>, have: u64);
    /// More bytes have been sent or received.
    fn moved(&self, bytes: u64);
}

/// Observes nothing.
pub struct Unwatched;

impl Progress for Unwatched {
    fn begin(&self, _size: Option<u64>, _have: u64) {}
    fn moved(&self, _bytes: u64) {}
}
