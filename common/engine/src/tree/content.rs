//! What the sender's reader receives, and what it returns.

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

/// Contents that any connection can carry.
pub(super) enum Content {
    /// Small files, with the requests for them.
    Pack(Vec<u8>, Vec<Want>),
    /// A file that does not fit a pack, and of which the receiver has nothing.
    Whole(LargeSource),
}

/// Contents for the first connection.
pub(super) enum FirstContent {
    /// A file of which the receiver has nothing, and whose chunks all connections share.
    Shared(LargeSource),
    /// A file of which the receiver has a part.
    Difference(LargeSource),
    /// A file that can't be read.
    Missed(Want, Failure),
}

/// A file that is sent by itself.
pub(super) struct LargeSource {
    pub(super) want: Want,
    pub(super) source: Box<Source>,
    /// Relative to the root.
    pub(super) path: Vec<u8>,
    /// Its ACL is dropped, which its entry did not report.
    pub(super) acl_dropped: bool,
}
