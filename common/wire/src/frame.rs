//! The frame header: 8 bytes, little-endian, before every payload.
//!
//! ```text
//! 0        4        6         8
//! | length | kind   | request | payload: `length` bytes
//! ```
//!
//! The length is checked against the limit in force before a byte is allocated for it.
//!
//! `request` numbers the request of the connection that a frame belongs to, from 1, and after 65535 from 1
//! again. 0 marks frames of the session itself ([`Kind::is_session`]). So a frame that arrives after its
//! request has ended is recognised by its number and dropped.

use crate::protocol::{Kind, UnknownKind};

/// Length of an encoded [`Header`], in bytes.
pub const HEADER_LEN: usize = 8;

/// Precedes each payload on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The kind of the payload.
    pub kind: Kind,
    /// The request that the frame belongs to, or 0.
    pub request: u16,
    /// Length of the payload in bytes.
    pub len: usize,
}

/// Why eight bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The announced length exceeds the limit in force.
    #[error("frame of {len} bytes is over the limit of {limit}")]
    TooLong {
        /// Announced length in bytes.
        len: usize,
        /// Limit in force, in bytes.
        limit: usize,
    },
    /// This version does not know the kind.
    #[error("{kind}")]
    Kind {
        /// The kind.
        kind: UnknownKind,
        /// The number in the header.
        request: u16,
        /// Length of the payload in bytes.
        len: usize,
    },
    /// A frame of the session has a request's number, or the reverse.
    #[error("a {kind:?} frame can't belong to request {request}")]
    Request {
        /// The frame's kind.
        kind: Kind,
        /// The number in the header.
        request: u16,
    },
}

impl Header {
    /// Encodes the header.
    ///
    /// # Panics
    /// If `len` does not fit in 32 bits, which no limit allows.
    pub fn encode(self) -> [u8; HEADER_LEN] {
        let len = u32::try_from(self.len).expect("payloads are limited to far less than 4 GiB");
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&len.to_le_bytes());
        bytes[4..6].copy_from_slice(&(self.kind as u16).to_le_bytes());
        bytes[6..].copy_from_slice(&self.request.to_le_bytes());
        bytes
    }

    /// Decodes a header, refusing payloads of more than `limit` bytes.
    pub fn decode(bytes: [u8; HEADER_LEN], limit: usize) -> Result<Self, FrameError> {
        let [l0, l1, l2, l3, k0, k1, r0, r1] = bytes;
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if len > limit {
            return Err(FrameError::TooLong { len, limit });
        }
        let request = u16::from_le_bytes([r0, r1]);
        let kind = Kind::try_from(u16::from_le_bytes([k0, k1]))
            .map_err(|kind| FrameError::Kind { kind, request, len })?;
        if kind.is_session() != (request == 0) {
            return Err(FrameError::Request { kind, request });
        }
        Ok(Self { kind, request, len })
    }
}

/// The number of the request that follows this one on a connection.
pub const fn following(request: u16) -> u16 {
    if request == u16::MAX { 1 } else { request + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn layout_is_little_endian_length_kind_request() {
        let bytes = Header { kind: Kind::Run, request: 0x0405, len: 0x0001_0203 }.encode();
        assert_eq!(bytes, [3, 2, 1, 0, 0x20, 0, 5, 4]);
    }

    #[test]
    fn the_limit_itself_is_allowed_and_one_more_is_not() {
        let header = |len| Header { kind: Kind::Ping, request: 0, len }.encode();
        assert!(Header::decode(header(100), 100).is_ok());
        assert_eq!(
            Header::decode(header(101), 100),
            Err(FrameError::TooLong { len: 101, limit: 100 })
        );
    }

    #[test]
    fn only_frames_of_the_session_have_the_number_0() {
        for &kind in Kind::ALL {
            for request in [0, 1, u16::MAX] {
                let read = Header::decode(Header { kind, request, len: 0 }.encode(), 0);
                assert_eq!(read.is_ok(), kind.is_session() == (request == 0), "{kind:?} {request}");
            }
        }
    }

    #[test]
    fn numbers_go_round_and_leave_out_0() {
        assert_eq!((following(0), following(1), following(u16::MAX)), (1, 2, 1));
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
