//! Stdout as a destination.

/// The destination that is stdout.
pub(super) const STDOUT: &[u8] = b"-";
