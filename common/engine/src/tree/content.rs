//! What the sender's reader is asked for, and what it reads.

use super::order::DirectoryPath;
use crate::source::Source;
use lariat_wire::protocol::failure::Failure;

/// A file that the receiver wants.
pub(super) struct Want {
    pub(super) number: u64,
    pub(super) directory: DirectoryPath,
    pub(super) name: Box<[u8]>,
    pub(super) weight: usize,
    /// Whether the receiver has a part of it.
    pub(super) difference: bool,
    /// Its entry said that its ACL is dropped.
    pub(super) acl_reported: bool,
}

/// What was read. Each has the weight of the entries that it settles.
pub(super) enum Content {
    /// Small files.
    Pack { body: Vec<u8>, files: usize, weight: usize },
    /// A file that does not fit a pack.
    Large {
        number: u64,
        source: Box<Source>,
        difference: bool,
        weight: usize,
        path: Vec<u8>,
        /// Its ACL is dropped, which its entry did not say.
        acl_dropped: bool,
    },
    /// A file that can't be read.
    Missed { number: u64, failure: Failure, weight: usize },
}
