//! The SHA-256 of an output stream on its way, for the audit.
//!
//! Only streams that are short, and are sent whole over one connection, have one: hashing all of a long one would
//! slow it down.

use sha2::{Digest, Sha256};

/// The longest stream that is hashed, in bytes.
const MOST: u64 = 4 * 1024 * 1024;

/// The hash of a stream as far as it was sent.
#[derive(Default)]
pub(super) struct StreamDigest {
    hasher: Sha256,
    /// Bytes that were hashed.
    len: u64,
}

impl StreamDigest {
    /// Hashes bytes that are sent from this offset on. What does not follow what was hashed is left out.
    pub(super) fn update(&mut self, offset: u64, bytes: &[u8]) {
        if offset == self.len && offset + bytes.len() as u64 <= MOST {
            self.hasher.update(bytes);
            self.len += bytes.len() as u64;
        }
    }

    /// The hash, if it is that of a whole stream of this length.
    pub(super) fn of(self, len: u64) -> Option<[u8; 32]> {
        (self.len == len).then(|| self.hasher.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_and_short_stream_has_one() {
        let abc: [u8; 32] = Sha256::digest(b"abc").into();
        let of = |parts: &[(u64, &[u8])], len| {
            let mut digest = StreamDigest::default();
            parts.iter().for_each(|(offset, bytes)| digest.update(*offset, bytes));
            digest.of(len)
        };
        assert_eq!(of(&[(0, b"a"), (1, b"bc")], 3), Some(abc));
        assert_eq!(of(&[(1, b"bc")], 3), None, "it began on another connection");
        assert_eq!(of(&[(0, b"abc")], 4), None);
        let long = vec![0; 4 * 1024 * 1024 + 1];
        assert_eq!(of(&[(0, &long)], long.len() as u64), None);
        assert_eq!(of(&[], 0), Some(Sha256::digest(b"").into()));
    }
}
