//! The parameters of a delta, on which both ends agree: one number and a seed are sent.

use twox_hash::xxhash3_128;

use super::{PIECE_HASH_LEN, Piece, PieceHash};
use lariat_base::secret::{NoRandomness, random};

/// Binary logarithm of the smallest average: 4 KiB, below which the list costs more than the
/// literals that it saves.
const MIN_AVERAGE_LOG2: u8 = 12;

/// Binary logarithm of the largest average: 4 MiB, with which a piece of the greatest length still
/// fits in memory (32 MiB).
const MAX_AVERAGE_LOG2: u8 = 22;

/// Binary logarithm of the number of average pieces that a basis may have: what an [`super::Index`]
/// may cost in memory, some 30 bytes each.
const MAX_PIECES_LOG2: u8 = 20;

/// How pieces are cut: chosen by the receiver for its basis, used by both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    average_log2: u8,
}

impl Params {
    /// The finest cut that gives a basis of `size` bytes at most about a million pieces. `None` for a basis of
    /// over 4 TiB.
    pub fn for_basis(size: u64) -> Option<Self> {
        (MIN_AVERAGE_LOG2..=MAX_AVERAGE_LOG2)
            .map(|average_log2| Self { average_log2 })
            .find(|params| size <= params.max_basis())
    }

    /// The parameters for the number that the peer sent. `None` if it is out of range.
    pub fn from_average_log2(average_log2: u8) -> Option<Self> {
        (MIN_AVERAGE_LOG2..=MAX_AVERAGE_LOG2)
            .contains(&average_log2)
            .then_some(Self { average_log2 })
    }

    /// The number that is sent: the binary logarithm of the average length in bytes.
    pub fn average_log2(self) -> u8 {
        self.average_log2
    }

    /// The typical length of a piece in bytes. The mean is a third more.
    pub(super) fn average(self) -> usize {
        1 << self.average_log2
    }

    /// The shortest length of a piece that is not the last. No cut is searched below it. Half the average is cut 15%
    /// faster than a quarter, gives 8% fewer pieces, and costs 7% more literals.
    pub(super) fn min(self) -> usize {
        self.average() / 2
    }

    /// The greatest length of a piece. In random data one in a million would be longer.
    pub(super) fn max(self) -> usize {
        self.average() * 8
    }

    /// The largest basis for which these may be used, in bytes.
    pub(super) fn max_basis(self) -> u64 {
        1 << (MAX_PIECES_LOG2 + self.average_log2)
    }

    /// The most pieces that a basis of `size` bytes can have.
    pub(crate) fn most_pieces(self, size: u64) -> u64 {
        size.min(self.max_basis()) / self.min() as u64 + 1
    }

    /// Pieces of `size` bytes together that match no other piece.
    pub(crate) fn unlike_any(self, size: u64) -> Vec<Piece> {
        let max = self.max() as u64;
        let piece = |len| Piece {
            hash: [0; PIECE_HASH_LEN],
            len: u32::try_from(len).expect("the longest piece of any parameters is 32 MiB"),
        };
        let longest = (0..size / max).map(|_| piece(max));
        longest.chain((!size.is_multiple_of(max)).then(|| piece(size % max))).collect()
    }
}

/// Keys the hashes of one transfer's pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// A random seed from the operating system.
    pub fn generate() -> Result<Self, NoRandomness> {
        random().map(u64::from_le_bytes).map(Self)
    }

    /// The hash of a piece's bytes.
    pub(super) fn hash(self, bytes: &[u8]) -> PieceHash {
        xxhash3_128::Hasher::oneshot_with_seed(self.0, bytes).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_with_the_basis_so_that_their_number_does_not() {
        let log2 = |size| Params::for_basis(size).map(Params::average_log2);
        assert_eq!(log2(0), Some(12));
        assert_eq!(log2(4 << 30), Some(12));
        assert_eq!(log2((4 << 30) + 1), Some(13));
        assert_eq!(log2(100 << 30), Some(17));
        assert_eq!(log2(4 << 40), Some(22));
        assert_eq!(log2((4 << 40) + 1), None);
    }

    #[test]
    fn pieces_that_are_like_none_are_as_a_cut_gives_them() {
        let params = Params::for_basis(0).unwrap();
        for size in [0, 1, 32 * 1024, 32 * 1024 + 1, 100_000] {
            let pieces = params.unlike_any(size);
            let mut index = super::super::Index::new(params, size).unwrap();
            index.add(&pieces).unwrap();
            assert_eq!(index.covered(), size);
            assert!(pieces.len() as u64 <= params.most_pieces(size));
        }
    }

    #[test]
    fn what_a_peer_says_is_in_range() {
        for log2 in 0..=u8::MAX {
            let params = Params::from_average_log2(log2);
            assert_eq!(params.is_some(), (12..=22).contains(&log2));
            assert!(params.is_none_or(|params| params.average_log2() == log2));
        }
    }
}
