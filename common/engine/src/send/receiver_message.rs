//! What the receiver says while a file is sent.

use lariat_wire::protocol::transfer::Hashes;

/// A message from the receiver.
pub(super) enum ReceiverMessage {
    /// Hashes of chunks that it has.
    Hashes(Hashes),
    /// The next pieces of its basis, as on the wire.
    Pieces(Vec<u8>),
}
