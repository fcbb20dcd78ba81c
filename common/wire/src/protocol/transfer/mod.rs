//! Messages of a transfer: the receiver reports what it has, and the sender sends what is missing.
//!
//! ```text
//! sender                                receiver
//!   Offer (a push carries it in Push) →
//!                                     ←   Have | Failed
//!   Chunk         the rest of one     →
//! with a basis:
//!                                     ←   Pieces...      of the basis
//!   Copies, Literal...                →
//! without one:
//!   Chunk...      those not in Have   →
//! then:
//!                                     ←   Hashes...      of the chunks in Have, and of those rebuilt
//!   Chunk...      those that differ   →
//!   Complete                          →
//!                                     ←   Done | Failed
//! ```
//!
//! Either end may send `Failed` at any time. That ends the request, and the session goes on.

mod chunk;
mod delta;
mod have;
mod lane;
mod offer;
mod placement;
mod push;

pub use chunk::{
    ChunkHead, Encoding, HASH_LEN, Hash, Hashes, LiteralHead, MAX_HASHES, SUM_LEN, Sum,
};
pub use delta::{Basis, Copies, Copy, MAX_COPIES, MAX_PIECES, PIECE_LEN};
pub use have::{Begun, Have, MAX_RANGES, Range};
pub use lane::{Lane, MAX_STREAMS, Taken, Way};
pub use offer::{Identity, Offer};
pub use placement::{Destination, ModeChange, Overrides, check_name};
pub use push::{Complete, Done, Push, Sending};
