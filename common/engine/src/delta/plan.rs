//! Joins the source's pieces into runs of copies and literals. No I/O.

use lariat_wire::limits::CHUNK;

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

/// Joins what is found and what is not into runs. They are given out when they end, so the last one
/// by [`Planner::finish`].
#[derive(Default)]
pub(super) struct Planner {
    run: Option<Op>,
}

impl Planner {
    /// Takes the source's next piece, which is at this offset of the basis or nowhere in it, and
    /// appends the runs that it ended to `ops`.
    pub(super) fn piece(&mut self, found: Option<u64>, len: u32, ops: &mut Vec<Op>) {
        match found {
            Some(from) => self.copy(from, len, ops),
            None => self.literal(len, ops),
        }
    }

    /// The run that was under way, if the source has any bytes.
    pub(super) fn finish(&mut self) -> Option<Op> {
        self.run.take()
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
