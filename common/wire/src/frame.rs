//! The frame header: 8 bytes, little-endian, before every payload.
//!
//! ```text
//! 0        4        6        8
//! | length | kind   | flags  | payload: `length` bytes
//! ```
//!
//! The length is checked against the limit in force before a byte is allocated for it. Flags are
//! reserved: they are sent as zero and any other value is an error, so that they can mean something
//! later.

use crate::protocol::{Kind, UnknownKind};

/// Length of an encoded [`Header`], in bytes.
pub const HEADER_LEN: usize = 8;

/// What precedes each payload on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the payload is.
    pub kind: Kind,
    /// Length of the payload in bytes.
    pub len: usize,
}

/// Why eight bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The announced length is over the limit in force.
    #[error("frame of {len} bytes is over the limit of {limit}")]
    TooLong {
        /// Announced length in bytes.
        len: usize,
        /// Limit in force, in bytes.
        limit: usize,
    },
    /// The kind is none that this version knows.
    #[error(transparent)]
    Kind(#[from] UnknownKind),
    /// Reserved flags were set.
    #[error("reserved frame flags {0:#06x} are set")]
    Flags(u16),
}

impl Header {
    /// The header's bytes.
    ///
    /// # Panics
    /// When `len` does not fit in 32 bits, which no limit of ours allows.
    pub fn encode(self) -> [u8; HEADER_LEN] {
        let len = u32::try_from(self.len).expect("payloads are limited to far less than 4 GiB");
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&len.to_le_bytes());
        bytes[4..6].copy_from_slice(&(self.kind as u16).to_le_bytes());
        bytes
    }

    /// Reads a header, refusing payloads of more than `limit` bytes.
    pub fn decode(bytes: [u8; HEADER_LEN], limit: usize) -> Result<Self, FrameError> {
        let [l0, l1, l2, l3, k0, k1, f0, f1] = bytes;
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if len > limit {
            return Err(FrameError::TooLong { len, limit });
        }
        let flags = u16::from_le_bytes([f0, f1]);
        if flags != 0 {
            return Err(FrameError::Flags(flags));
        }
        let kind = Kind::try_from(u16::from_le_bytes([k0, k1]))?;
        Ok(Self { kind, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn layout_is_little_endian_length_kind_flags() {
        let bytes = Header { kind: Kind::Login, len: 0x0001_0203 }.encode();
        assert_eq!(bytes, [3, 2, 1, 0, 2, 0, 0, 0]);
    }

    #[test]
    fn the_limit_itself_is_allowed_and_one_more_is_not() {
        let header = |len| Header { kind: Kind::Ping, len }.encode();
        assert!(Header::decode(header(100), 100).is_ok());
        assert_eq!(
            Header::decode(header(101), 100),
            Err(FrameError::TooLong { len: 101, limit: 100 })
        );
    }

    proptest! {
        #[test]
        fn any_eight_bytes_decode_to_themselves_or_to_an_error(bytes: [u8; HEADER_LEN]) {
            if let Ok(header) = Header::decode(bytes, usize::MAX) {
                prop_assert_eq!(header.encode(), bytes);
            }
        }
    }
}
