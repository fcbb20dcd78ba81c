//! The fixed part of a small file in a pack.

use super::MAX_PACKED;
use crate::limits::CHUNK;
use crate::protocol::metadata::Time;

/// Precedes each file's bytes in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedHead {
    /// The wanted entry's number.
    pub number: u64,
    /// Permission bits, as the file has them now.
    pub mode: u32,
    /// Time of last modification, as it is now.
    pub mtime: Time,
    /// Length of the bytes that follow, at most [`MAX_PACKED`].
    pub len: u32,
}

impl PackedHead {
    /// Encoded length in bytes.
    pub const LEN: usize = 8 + 4 + 8 + 4 + 4;

    /// Encodes the head.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.mode.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.mtime.secs.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.mtime.nanos.to_le_bytes());
        bytes[24..].copy_from_slice(&self.len.to_le_bytes());
        bytes
    }

    /// Decodes a head.
    pub fn decode(bytes: &[u8; Self::LEN]) -> Self {
        let (number, rest) = bytes.split_at(8);
        let (mode, rest) = rest.split_at(4);
        let (secs, rest) = rest.split_at(8);
        let (nanos, rest) = rest.split_at(4);
        let u32_of = |part: &[u8]| u32::from_le_bytes(part.try_into().expect("split at 4 bytes"));
        Self {
            number: u64::from_le_bytes(number.try_into().expect("split at 8 bytes")),
            mode: u32_of(mode),
            mtime: Time {
                secs: i64::from_le_bytes(secs.try_into().expect("split at 8 bytes")),
                nanos: u32_of(nanos),
            },
            len: u32_of(rest),
        }
    }
}

const _: () = assert!(PackedHead::LEN + MAX_PACKED <= CHUNK);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_head_goes_there_and_back() {
        let mtime = Time { secs: -2, nanos: 999_999_999 };
        let head = PackedHead { number: 1 << 40, mode: 0o755, mtime, len: 7 };
        assert_eq!(PackedHead::decode(&head.encode()), head);
    }
}
