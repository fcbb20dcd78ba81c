//! Chunks in transit, and their hashes.

use serde::{Deserialize, Serialize};

use crate::limits::{CHUNK, MAX_BULK_HEADER};

/// Length of a hash or a chaining value, in bytes.
pub const HASH_LEN: usize = 32;

/// A BLAKE3 hash: of a whole file, or the chaining value of one chunk's subtree.
pub type Hash = [u8; HASH_LEN];

/// Length of a [`Sum`], in bytes.
pub const SUM_LEN: usize = 16;

/// XXH3-128 (little-endian) under the transfer's seed. It guards bytes in transit, which TLS authenticates,
/// against memory faults and bugs; bytes that were stored on a disk are compared by [`Hash`](type@Hash).
pub type Sum = [u8; SUM_LEN];

/// Most hashes in one [`Hashes`].
pub const MAX_HASHES: usize = 1024;

/// How a body is encoded. The numbers are the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Encoding {
    /// The bytes themselves.
    Raw = 0,
    /// No bytes: all of them are zero.
    Zeros = 1,
    /// One zstd frame.
    Zstd = 2,
}

impl Encoding {
    /// Decodes the wire's number.
    pub fn from_wire(number: u8) -> Option<Self> {
        [Self::Raw, Self::Zeros, Self::Zstd].into_iter().find(|encoding| *encoding as u8 == number)
    }
}

/// The fixed part of a `Literal` or `Pack` frame's payload; the body follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiteralHead {
    /// Length of the decoded body in bytes, at most [`CHUNK`].
    pub len: u32,
    /// The sum of the decoded bytes.
    pub sum: Sum,
    /// An [`Encoding`].
    pub encoding: u8,
}

impl LiteralHead {
    /// Encoded length in bytes.
    pub const LEN: usize = 4 + SUM_LEN + 1;

    /// Encodes the head.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4..4 + SUM_LEN].copy_from_slice(&self.sum);
        bytes[4 + SUM_LEN] = self.encoding;
        bytes
    }

    /// Decodes a head.
    pub fn decode(bytes: [u8; Self::LEN]) -> Self {
        let [a, b, c, d, sum @ .., encoding] = bytes;
        Self { len: u32::from_le_bytes([a, b, c, d]), sum, encoding }
    }
}

/// The fixed part of a `Chunk` frame's payload; the chunk's bytes follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHead {
    /// Index of the chunk: its offset divided by [`CHUNK`].
    pub index: u64,
    /// The sum of the decoded bytes.
    pub sum: Sum,
    /// An [`Encoding`].
    pub encoding: u8,
}

impl ChunkHead {
    /// Encoded length in bytes.
    pub const LEN: usize = 8 + SUM_LEN + 1;

    /// Encodes the head.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.index.to_le_bytes());
        bytes[8..8 + SUM_LEN].copy_from_slice(&self.sum);
        bytes[8 + SUM_LEN] = self.encoding;
        bytes
    }

    /// Decodes a head.
    pub fn decode(bytes: [u8; Self::LEN]) -> Self {
        let [rest @ .., encoding] = bytes;
        let (mut index, mut sum) = ([0; 8], [0; SUM_LEN]);
        index.copy_from_slice(&rest[..8]);
        sum.copy_from_slice(&rest[8..]);
        Self { index: u64::from_le_bytes(index), sum, encoding }
    }
}

const _: () = assert!(ChunkHead::LEN <= MAX_BULK_HEADER && CHUNK.is_power_of_two());

/// Hashes of chunks that the receiver had or has rebuilt, computed in this transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hashes {
    /// Index of the first chunk.
    pub first: u64,
    /// One hash for each chunk from `first` on, at most [`MAX_HASHES`].
    pub hashes: Vec<Hash>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_go_there_and_back() {
        let head = ChunkHead { index: 0x0102_0304, sum: [7; SUM_LEN], encoding: 2 };
        assert_eq!(ChunkHead::decode(head.encode()), head);
        assert_eq!(head.encode()[..8], [4, 3, 2, 1, 0, 0, 0, 0]);
        let head = LiteralHead { len: 0x0102_0304, sum: [7; SUM_LEN], encoding: 1 };
        assert_eq!(LiteralHead::decode(head.encode()), head);
        assert_eq!(head.encode()[..5], [4, 3, 2, 1, 7]);
    }
}
