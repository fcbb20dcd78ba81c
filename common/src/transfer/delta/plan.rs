//! Turns the source's pieces, as they are cut, into runs of copies and literals. No I/O.

use super::{Index, Piece};
use crate::limits::CHUNK;

/// Most bytes of one literal run: what one chunk frame carries, and how far cutting is ahead of sending.
pub const MAX_LITERAL: u32 = 512 * 1024;

const _: () = assert!(MAX_LITERAL as usize == CHUNK);

/// Most bytes of one copy: small enough to be cancelled and reported between two.
pub const MAX_COPY: u32 = 64 * 1024 * 1024;

/// The next stretch of the file that is rebuilt: each starts where the one before ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// The receiver has it.
    Copy {
        /// Where it starts in the basis.
        from: u64,
        /// Bytes, at least 1, at most [`MAX_COPY`].
        len: u32,
    },
    /// The sender must send it.
    Literal {
        /// Bytes, at least 1, at most [`MAX_LITERAL`].
        len: u32,
    },
}

impl Op {
    /// Its length in bytes.
    pub fn length(self) -> u32 {
        let (Self::Copy { len, .. } | Self::Literal { len }) = self;
        len
    }
}

/// Plans one source. Runs are given out when they end, so the last one by [`Planner::finish`].
///
/// The index may still grow between pieces: what is not in it yet becomes a literal.
#[derive(Default)]
pub struct Planner {
    run: Option<Op>,
    /// The number of the basis' piece that would continue the last copy.
    next: Option<u32>,
}

impl Planner {
    /// Takes the source's next piece, and appends the runs that it ended to `ops`.
    pub fn piece(&mut self, index: &Index, piece: Piece, ops: &mut Vec<Op>) {
        // Equal pieces are many in a file of zeros; the one that continues the run keeps it long.
        let found = self.next.filter(|&next| index.is(next, piece)).or_else(|| index.find(piece));
        self.next = found.map(|number| number + 1);
        match found {
            Some(number) => self.copy(index.start(number), piece.len, ops),
            None => self.literal(piece.len, ops),
        }
    }

    /// The run that was under way, if the source has any bytes.
    pub fn finish(self) -> Option<Op> {
        self.run
    }

    fn copy(&mut self, from: u64, more: u32, ops: &mut Vec<Op>) {
        if let Some(Op::Copy { from: start, len }) = &mut self.run {
            let joined = len.saturating_add(more);
            if *start + u64::from(*len) == from && joined <= MAX_COPY {
                *len = joined;
                return;
            }
        }
        ops.extend(self.run.replace(Op::Copy { from, len: more }));
    }

    fn literal(&mut self, mut more: u32, ops: &mut Vec<Op>) {
        while more > 0 {
            let have = match self.run {
                Some(Op::Literal { len }) if len < MAX_LITERAL => len,
                _ => {
                    ops.extend(self.run.take());
                    0
                }
            };
            let part = more.min(MAX_LITERAL - have);
            more -= part;
            self.run = Some(Op::Literal { len: have + part });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Params;
    use super::*;

    /// A piece of 4 KiB that is known by one letter.
    fn piece(letter: u8) -> Piece {
        Piece { hash: [letter; 16], len: 4096 }
    }

    fn plan(basis: &[u8], source: &[u8]) -> Vec<Op> {
        let params = Params::for_basis(0).unwrap();
        let mut index = Index::new(params, basis.len() as u64 * 4096).unwrap();
        basis.iter().for_each(|&letter| index.add(&[piece(letter)]).unwrap());
        let (mut planner, mut ops) = (Planner::default(), vec![]);
        source.iter().for_each(|&letter| planner.piece(&index, piece(letter), &mut ops));
        ops.extend(planner.finish());
        ops
    }

    fn copy(from: u64, pieces: u32) -> Op {
        Op::Copy { from: from * 4096, len: pieces * 4096 }
    }

    #[test]
    fn neighbours_are_one_run() {
        let literal = Op::Literal { len: 2 * 4096 };
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
        assert_eq!(
            ops.iter().map(|op| op.length()).collect::<Vec<_>>(),
            [MAX_LITERAL, MAX_LITERAL, 300 * 4096 - 2 * MAX_LITERAL]
        );
        let zeros = vec![b'z'; 20_000];
        let ops = plan(&zeros, &zeros);
        assert_eq!(ops[0], Op::Copy { from: 0, len: MAX_COPY });
        assert_eq!(ops[1], Op::Copy { from: u64::from(MAX_COPY), len: 20_000 * 4096 - MAX_COPY });
    }

    #[test]
    fn a_piece_longer_than_a_run_is_several() {
        let params = Params::from_average_log2(22).unwrap();
        let index = Index::new(params, 0).unwrap();
        let (mut planner, mut ops) = (Planner::default(), vec![Op::Literal { len: 1 }]);
        planner.piece(&index, Piece { hash: [0; 16], len: 32 << 20 }, &mut ops);
        ops.extend(planner.finish());
        assert_eq!(ops.len(), 1 + (32 << 20) / CHUNK);
    }
}
