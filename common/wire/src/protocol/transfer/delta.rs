//! Which parts of the offered file the receiver's basis has.

use serde::{Deserialize, Serialize};

/// A file of the receiver's, which it is about to cut by content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// Length in bytes.
    pub size: u64,
    /// The pieces' average length, as a power of two.
    pub average_log2: u8,
    /// The key of the pieces' hashes, new for each transfer.
    pub seed: u64,
}

/// Length of a piece on the wire, in bytes: its hash, and its length as a `u32`.
pub const PIECE_LEN: usize = 16 + 4;

/// Most pieces in one frame.
pub const MAX_PIECES: usize = 8 * 1024;

/// Most copies in one [`Copies`].
pub const MAX_COPIES: usize = 4 * 1024;

/// Parts of the file that the basis has. Rebuilding continues where the last copy or literal ended, past the
/// chunks in [`Have`](super::Have).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copies {
    /// In the file's order, at most [`MAX_COPIES`].
    pub copies: Vec<Copy>,
}

/// One part of the basis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copy {
    /// Offset in the basis.
    pub from: u64,
    /// Length in bytes.
    pub len: u32,
}
