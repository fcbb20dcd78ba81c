//! Encodes and decodes control messages: the only module that uses bincode.
//!
//! Fixed-width little-endian integers, a hard limit, no trailing bytes, always from a slice that is bounded
//! already. Wire types keep to these rules: not recursive, no lists of zero-sized types, no 128-bit integers,
//! no lists at all before authentication.

use bincode::Options;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::MAX_MESSAGE;

/// Why a message can't be decoded or sent.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The peer's bytes do not decode.
    #[error("malformed message: {0}")]
    Malformed(#[source] bincode::Error),
    /// A message of this end exceeds [`MAX_MESSAGE`].
    #[error("message too large to send: {0}")]
    TooLarge(#[source] bincode::Error),
}

fn options() -> impl Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_little_endian()
        .with_limit(MAX_MESSAGE as u64)
        .reject_trailing_bytes()
}

/// Encodes a control message of at most [`MAX_MESSAGE`] bytes.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, CodecError> {
    options().serialize(message).map_err(CodecError::TooLarge)
}

/// Decodes a control message, which must fill `bytes` exactly.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    options().deserialize(bytes).map_err(CodecError::Malformed)
}

/// Zero bytes appended for fields that an older version did not write.
const GROWTH: usize = 256;

/// Decodes a message of a format to which later versions append fields, such as those on disk. Bytes that a
/// newer version appended are ignored, and fields that an older one did not write read as zero (0, false,
/// empty, the first variant).
pub fn decode_grown<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let padded = [bytes, &[0; GROWTH]].concat();
    let options = bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_little_endian()
        .with_limit((MAX_MESSAGE + GROWTH) as u64)
        .allow_trailing_bytes();
    options.deserialize(&padded).map_err(CodecError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_fixed_width_and_lists_carry_a_u64_length() {
        assert_eq!(encode(&0x0102_u32).unwrap(), [2, 1, 0, 0]);
        assert_eq!(encode(&vec![7_u8]).unwrap(), [1, 0, 0, 0, 0, 0, 0, 0, 7]);
    }

    #[test]
    fn a_grown_message_is_read_with_zeros_for_what_is_missing() {
        assert_eq!(decode_grown::<(u8, u32)>(&[7]).unwrap(), (7, 0));
        assert_eq!(decode_grown::<(u8, Option<u8>, Vec<u8>)>(&[7]).unwrap(), (7, None, vec![]));
        assert_eq!(decode_grown::<u8>(&[7, 8, 9]).unwrap(), 7);
        assert!(decode_grown::<Vec<u8>>(&[0xff; 8]).is_err());
    }

    #[test]
    fn trailing_missing_and_oversized_are_errors() {
        assert!(decode::<u32>(&[1, 0, 0, 0, 9]).is_err());
        assert!(decode::<u32>(&[1, 0, 0]).is_err());
        assert!(decode::<Vec<u8>>(&u64::MAX.to_le_bytes()).is_err());
        assert!(encode(&vec![0_u8; MAX_MESSAGE]).is_err());
    }
}
