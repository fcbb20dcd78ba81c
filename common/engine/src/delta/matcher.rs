//! Finds the source's pieces in the basis while both files are still being cut. No I/O.
//!
//! In equal parts of two files the pieces have the same order: after a piece that was found, the next one is
//! likely the next of the basis. A hash verifies that at a tenth of the cost of searching a cut. So the source
//! stays a little behind the basis, and the sender need not search the cuts that the receiver found.
//!
//! A piece that is not found may come later in an incomplete basis. It is kept, and so is everything after
//! it. The memory for that is bounded, because the source is never ahead of the basis.

use super::plan::Planner;
use super::{BadDelta, Index, Op, Piece};

/// Turns the source's pieces into runs.
pub struct Matcher {
    index: Index,
    planner: Planner,
    /// The source's pieces so far, while the basis is incomplete.
    held: Vec<Piece>,
    /// The number of the basis' piece that continues the current run of copies.
    next: Option<u32>,
    /// The length of the source so far, in bytes.
    offset: u64,
    /// The offset of the source's next byte in the basis, if nothing was inserted or removed since a piece was
    /// found.
    place: u64,
}

impl Matcher {
    /// Starts with an empty index.
    pub fn new(index: Index) -> Self {
        let (planner, held) = (Planner::default(), Vec::new());
        Self { index, planner, held, next: None, offset: 0, place: 0 }
    }

    /// Adds the next pieces of the basis. Runs that become certain when it is complete are appended to
    /// `ops`. After an error the transfer must be ended.
    pub fn basis(&mut self, pieces: &[Piece], ops: &mut Vec<Op>) -> Result<(), BadDelta> {
        self.index.add(pieces)?;
        if self.index.is_whole() {
            self.next = None;
            for piece in std::mem::take(&mut self.held) {
                self.plan(piece, ops);
            }
        }
        Ok(())
    }

    /// Whether the basis is complete.
    pub fn has_basis(&self) -> bool {
        self.index.is_whole()
    }

    /// Whether the source should wait for more of the basis.
    pub fn awaits_basis(&self) -> bool {
        let reach = self.offset.max(self.place).saturating_add(self.index.longest());
        !self.index.is_whole() && self.index.covered() < reach
    }

    /// The likely next piece of the source. It is never the basis' last piece, which does not end with a cut.
    pub fn likely(&self) -> Option<Piece> {
        let next = self.next.filter(|&number| !self.index.is_last(number));
        next.and_then(|number| self.index.piece(number))
    }

    /// Adds the source's next piece. Runs that it ends are appended to `ops`.
    pub fn source(&mut self, piece: Piece, ops: &mut Vec<Op>) {
        self.offset += u64::from(piece.len);
        if self.index.is_whole() {
            self.plan(piece, ops);
        } else {
            self.held.push(piece);
            let found = self.find(piece);
            self.place = found.unwrap_or(self.place) + u64::from(piece.len);
        }
    }

    /// The last run, if the source is not empty. The basis must be complete.
    pub fn finish(&mut self) -> Option<Op> {
        self.planner.finish()
    }

    fn plan(&mut self, piece: Piece, ops: &mut Vec<Op>) {
        let found = self.find(piece);
        self.planner.piece(found, piece.len, ops);
    }

    /// The offset in the basis of a piece equal to this one.
    fn find(&mut self, piece: Piece) -> Option<u64> {
        // A file of zeros has many equal pieces. The one that continues the run is preferred.
        let next = self.next.filter(|&next| self.index.piece(next) == Some(piece));
        let found = next.or_else(|| self.index.find(piece));
        self.next = found.map(|number| number + 1);
        found.map(|number| self.index.start(number))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{MAX_COPY, MAX_LITERAL, Params};
    use super::*;
    use lariat_wire::limits::CHUNK;

    const PIECE: u32 = 4096;

    /// A piece of 4 KiB that is known by one letter.
    fn piece(letter: u8) -> Piece {
        Piece { hash: [letter; 16], len: PIECE }
    }

    fn matcher(basis: usize) -> Matcher {
        let params = Params::for_basis(0).unwrap();
        Matcher::new(Index::new(params, basis as u64 * u64::from(PIECE)).unwrap())
    }

    fn plan(basis: &[u8], source: &[u8]) -> Vec<Op> {
        let (mut matcher, mut ops) = (matcher(basis.len()), vec![]);
        basis.iter().for_each(|&letter| matcher.basis(&[piece(letter)], &mut ops).unwrap());
        source.iter().for_each(|&letter| matcher.source(piece(letter), &mut ops));
        ops.extend(matcher.finish());
        ops
    }

    fn copy(from: u32, pieces: u32) -> Op {
        Op::Copy { from: u64::from(from * PIECE), len: pieces * PIECE }
    }

    #[test]
    fn neighbours_are_one_run() {
        let literal = Op::Literal { len: 2 * PIECE };
        assert_eq!(plan(b"abcdef", b"abxycdef"), [copy(0, 2), literal, copy(2, 4)]);
        assert_eq!(plan(b"abcd", b"cdab"), [copy(2, 2), copy(0, 2)]);
        assert_eq!(plan(b"", b""), []);
    }

    #[test]
    fn of_equal_pieces_the_one_that_continues_the_run_is_taken() {
        assert_eq!(plan(b"axbxcx", b"axbxcx"), [copy(0, 6)]);
        assert_eq!(plan(b"zzzz", b"zzzzzz"), [copy(0, 4), copy(0, 2)]);
    }

    #[test]
    fn runs_are_bounded() {
        let ops = plan(b"", &[b'x'; 300]);
        let lengths: Vec<u32> = ops.iter().map(|op| op.length()).collect();
        assert_eq!(lengths, [MAX_LITERAL, MAX_LITERAL, 300 * PIECE - 2 * MAX_LITERAL]);
        let zeros = vec![b'z'; 20_000];
        let ops = plan(&zeros, &zeros);
        assert_eq!(ops[0], Op::Copy { from: 0, len: MAX_COPY });
        assert_eq!(ops[1], Op::Copy { from: MAX_COPY.into(), len: 20_000 * PIECE - MAX_COPY });
    }

    #[test]
    fn a_piece_longer_than_a_run_is_several() {
        let params = Params::from_average_log2(22).unwrap();
        let mut matcher = Matcher::new(Index::new(params, 0).unwrap());
        let mut ops = vec![];
        matcher.source(Piece { hash: [0; 16], len: 1 }, &mut ops);
        matcher.source(Piece { hash: [0; 16], len: 32 << 20 }, &mut ops);
        ops.extend(matcher.finish());
        assert_eq!(ops.len(), 1 + (32 << 20) / CHUNK);
    }

    #[test]
    fn what_follows_in_the_basis_is_likely() {
        let (mut matcher, mut ops) = (matcher(100), vec![]);
        let mut likely = |matcher: &mut Matcher, letter| {
            let likely = matcher.likely().map(|piece| piece.hash[0]);
            matcher.source(piece(letter), &mut ops);
            likely
        };
        matcher.basis(&[piece(b'a'), piece(b'b'), piece(b'c')], &mut vec![]).unwrap();
        assert_eq!(likely(&mut matcher, b'a'), None);
        assert_eq!(likely(&mut matcher, b'x'), Some(b'b'));
        assert_eq!(likely(&mut matcher, b'b'), None);
        assert_eq!(likely(&mut matcher, b'c'), Some(b'c'));
        assert_eq!(likely(&mut matcher, b'd'), None);
        assert_eq!(ops, []);
    }

    #[test]
    fn the_source_is_behind_the_basis_also_where_something_was_taken_out() {
        let longest = 8;
        let (mut matcher, mut ops) = (matcher(100), vec![]);
        let mut letters = 0..100;
        let mut basis = |matcher: &mut Matcher, pieces: usize| {
            for letter in letters.by_ref().take(pieces) {
                assert!(matcher.awaits_basis());
                matcher.basis(&[piece(letter)], &mut vec![]).unwrap();
            }
            assert!(!matcher.awaits_basis());
        };
        basis(&mut matcher, longest);
        matcher.source(piece(0), &mut ops);
        basis(&mut matcher, 1);
        // Two are left out: the basis must be further on than the source.
        matcher.source(piece(3), &mut ops);
        basis(&mut matcher, 3);
        // Two come in: then it must be as far as before, for what is found may go back too.
        matcher.source(piece(200), &mut ops);
        basis(&mut matcher, 1);
        matcher.source(piece(201), &mut ops);
        basis(&mut matcher, 1);
        matcher.source(piece(4), &mut ops);
        assert!(!matcher.awaits_basis());
        assert_eq!(ops, []);
    }

    proptest! {
        #[test]
        fn the_plan_is_the_same_whenever_the_basis_comes(
            basis in prop::collection::vec(0..6_u8, 0..30),
            source in prop::collection::vec(0..6_u8, 0..30),
            before: u8,
        ) {
            let (mut matcher, mut ops) = (matcher(basis.len()), vec![]);
            let (first, later) = basis.split_at(usize::from(before) % (basis.len() + 1));
            let (early, late) = source.split_at(usize::from(before) % (source.len() + 1));
            let add = |matcher: &mut Matcher, letters: &[u8], ops: &mut _| {
                letters.iter().for_each(|&letter| matcher.basis(&[piece(letter)], ops).unwrap());
            };
            add(&mut matcher, first, &mut ops);
            early.iter().for_each(|&letter| matcher.source(piece(letter), &mut ops));
            add(&mut matcher, later, &mut ops);
            late.iter().for_each(|&letter| matcher.source(piece(letter), &mut ops));
            ops.extend(matcher.finish());
            prop_assert_eq!(ops, plan(&basis, &source));
        }
    }
}
