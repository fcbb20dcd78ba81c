//! Finds the pieces of the basis by their hashes. The sender builds the index from the receiver's list, which is
//! not trusted: lengths are checked on arrival, and memory is bounded by the parameters, which are checked
//! against the basis' size first.

use std::hash::{BuildHasher, RandomState};

use super::{BadDelta, Params, Piece, PieceHash};

/// The initial number of slots.
const FEWEST_SLOTS: usize = 64;

/// A free slot.
const FREE: u32 = u32::MAX;

/// The basis' pieces. Of equal pieces the first one is found; the others follow when a run is continued.
///
/// It takes 24 bytes a piece and 4 a slot, and at least a quarter of the slots are free.
pub struct Index {
    params: Params,
    basis_size: u64,
    pieces: Vec<Entry>,
    /// Open addressing over the numbers of pieces with different hashes.
    slots: Vec<u32>,
    used: usize,
    /// A random key, so that a peer can't choose hashes that collide in one slot.
    keys: RandomState,
}

#[derive(Clone, Copy)]
struct Entry {
    hash: PieceHash,
    /// The offset in the basis where it ends. It starts where the one before ends.
    end: u64,
}

impl Index {
    /// For a basis of `basis_size` bytes, cut by `params`.
    pub fn new(params: Params, basis_size: u64) -> Result<Self, BadDelta> {
        if basis_size > params.max_basis() {
            return Err(BadDelta::Basis);
        }
        Ok(Self {
            params,
            basis_size,
            pieces: Vec::new(),
            slots: vec![FREE; FEWEST_SLOTS],
            used: 0,
            keys: RandomState::new(),
        })
    }

    /// Adds the next pieces of the basis. After an error the transfer must be ended.
    pub fn add(&mut self, pieces: &[Piece]) -> Result<(), BadDelta> {
        pieces.iter().try_for_each(|&piece| self.add_one(piece))
    }

    fn add_one(&mut self, piece: Piece) -> Result<(), BadDelta> {
        let start = self.covered();
        let len = u64::from(piece.len);
        if len == 0 || len > self.params.max() as u64 {
            return Err(BadDelta::PieceLength);
        }
        let end = start + len;
        if end > self.basis_size {
            return Err(BadDelta::PastBasis);
        }
        if len < self.params.min() as u64 && end < self.basis_size {
            return Err(BadDelta::PieceLength);
        }
        if self.used * 4 >= self.slots.len() * 3 {
            self.grow();
        }
        let number = u32::try_from(self.pieces.len())
            .expect("a basis within the parameters' limit has about two million pieces at most");
        self.pieces.push(Entry { hash: piece.hash, end });
        let slot = self.slot(piece.hash);
        if self.slots[slot] == FREE {
            self.slots[slot] = number;
            self.used += 1;
        }
        Ok(())
    }

    /// The length of all pieces so far, in bytes.
    pub fn covered(&self) -> u64 {
        self.pieces.last().map_or(0, |last| last.end)
    }

    /// Whether all pieces of the basis have arrived.
    pub(super) fn is_whole(&self) -> bool {
        self.covered() == self.basis_size
    }

    /// The greatest length of a piece, in bytes.
    pub(super) fn longest(&self) -> u64 {
        self.params.max() as u64
    }

    /// The piece of this number.
    pub(super) fn piece(&self, number: u32) -> Option<Piece> {
        let entry = self.pieces.get(number as usize)?;
        let len = u32::try_from(entry.end - self.start(number));
        Some(Piece { hash: entry.hash, len: len.expect("its length was one when it was added") })
    }

    /// Whether the basis ends with the piece of this number.
    pub(super) fn is_last(&self, number: u32) -> bool {
        self.piece(number).is_some() && self.start(number + 1) == self.basis_size
    }

    /// The first piece equal to this one.
    pub(super) fn find(&self, piece: Piece) -> Option<u32> {
        let number = self.slots[self.slot(piece.hash)];
        (self.piece(number) == Some(piece)).then_some(number)
    }

    /// The offset of the piece of this number in the basis.
    pub(super) fn start(&self, number: u32) -> u64 {
        let before = (number as usize).checked_sub(1);
        before.and_then(|before| self.pieces.get(before)).map_or(0, |entry| entry.end)
    }

    /// The slot of a piece with this hash, or the free one where it would be.
    fn slot(&self, hash: PieceHash) -> usize {
        let mask = self.slots.len() - 1;
        let from = self.keys.hash_one(hash).to_le_bytes();
        let [low @ .., _, _, _, _] = from;
        let mut slot = u32::from_le_bytes(low) as usize & mask;
        loop {
            let number = self.slots[slot];
            let taken = self.pieces.get(number as usize).is_some_and(|entry| entry.hash != hash);
            if !taken {
                return slot;
            }
            slot = (slot + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.slots);
        self.slots = vec![FREE; old.len() * 2];
        for number in old.into_iter().filter(|&number| number != FREE) {
            let slot = self.slot(self.pieces[number as usize].hash);
            self.slots[slot] = number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: u32 = 2048;
    const MAX: u32 = 32 * 1024;

    fn piece(number: u32, len: u32) -> Piece {
        let mut hash = [0; 16];
        hash[..4].copy_from_slice(&number.to_le_bytes());
        Piece { hash, len }
    }

    fn index(basis_size: u64) -> Index {
        Index::new(Params::for_basis(0).unwrap(), basis_size).unwrap()
    }

    #[test]
    fn every_piece_is_found_where_it_is() {
        let mut index = index(u64::from(MIN) * 10_000);
        (0..10_000).for_each(|n| index.add(&[piece(n, MIN)]).unwrap());
        for n in 0..10_000 {
            assert_eq!(index.find(piece(n, MIN)), Some(n));
            assert_eq!(index.start(n), u64::from(n * MIN));
        }
        assert_eq!(index.find(piece(10_000, MIN)), None);
        assert_eq!(index.find(piece(5, MIN + 1)), None, "another length");
        assert_eq!(index.piece(10_000), None);
    }

    #[test]
    fn equal_pieces_take_one_slot() {
        let mut index = index(u64::from(MIN) * 10_000);
        (0..10_000).for_each(|_| index.add(&[piece(7, MIN)]).unwrap());
        assert_eq!(index.slots.len(), FEWEST_SLOTS);
        assert_eq!(index.find(piece(7, MIN)), Some(0));
        assert_eq!(index.piece(9_999), Some(piece(7, MIN)));
    }

    #[test]
    fn a_list_that_no_cut_gives_is_refused() {
        let size = 3 * u64::from(MIN);
        let add = |pieces: &[Piece]| index(size).add(pieces);
        assert_eq!(add(&[piece(0, 0)]), Err(BadDelta::PieceLength));
        assert_eq!(add(&[piece(0, MIN - 1)]), Err(BadDelta::PieceLength));
        assert_eq!(add(&[piece(0, MAX + 1)]), Err(BadDelta::PieceLength));
        assert_eq!(add(&[piece(0, u32::MAX)]), Err(BadDelta::PieceLength));
        assert_eq!(add(&[piece(0, MAX)]), Err(BadDelta::PastBasis));
        let whole = [piece(0, 2 * MIN), piece(1, MIN)];
        assert_eq!(add(&whole), Ok(()));
        assert_eq!(add(&[whole[0], whole[1], piece(2, 1)]), Err(BadDelta::PastBasis));
        assert_eq!(add(&[piece(0, 2 * MIN + 1), piece(1, MIN - 1)]), Ok(()), "the last is short");
    }

    #[test]
    fn a_basis_that_would_cost_too_much_memory_is_refused() {
        let params = Params::for_basis(0).unwrap();
        assert!(Index::new(params, 4 << 30).is_ok());
        assert_eq!(Index::new(params, (4 << 30) + 1).err(), Some(BadDelta::Basis));
        assert_eq!(Index::new(params, u64::MAX).err(), Some(BadDelta::Basis));
    }
}
