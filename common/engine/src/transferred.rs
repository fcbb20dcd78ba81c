//! The result of one file's transfer, at either end.

use lariat_wire::protocol::transfer::Hash;

/// What one end did, whether the transfer succeeded or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transferred {
    /// Bytes of bodies on the wire.
    pub sent: u64,
    /// Bytes of the file that the bodies encode.
    pub moved: u64,
    /// The file's size in bytes.
    pub size: u64,
    /// This end's hash of the file, if it was asked for.
    pub hash: Option<Hash>,
    /// Whether the receiver's file changed, its content or its metadata.
    pub changed: bool,
}
