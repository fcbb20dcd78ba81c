//! Joins the source's pieces into runs of copies and literals. No I/O.

use lariat_wire::limits::CHUNK;

/// The most bytes of one literal: what one frame carries, and how far cutting is ahead of sending.
pub const MAX_LITERAL: u32 = 512 * 1024;

const _: () = assert!(MAX_LITERAL as usize == CHUNK);

/// The most bytes of one copy, so that cancellation and progress between two copies are timely.
pub const MAX_COPY: u32 = 64 * 1024 * 1024;

/// A run of the rebuilt file. It starts where the one before ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// The receiver has it in its basis.
    Copy {
        /// The offset in the basis.
        from: u64,
        /// The length in bytes, from 1 to [`MAX_COPY`].
        len: u32,
    },
    /// The sender must send it.
    Literal {
        /// The length in bytes, from 1 to [`MAX_LITERAL`].
        len: u32,
    },
}

impl Op {
    /// The length in bytes.
    pub fn length(self) -> u32 {
        let (Self::Copy { len, .. } | Self::Literal { len }) = self;
        len
    }
}

/// Joins pieces into runs. A run is returned when it ends, the last one by [`Planner::finish`].
#[derive(Default)]
pub(super) struct Planner {
    run: Option<Op>,
}

impl Planner {
    /// Adds the source's next piece, with its offset in the basis if it was found. Runs that it ends are appended
    /// to `ops`.
    pub(super) fn piece(&mut self, found: Option<u64>, len: u32, ops: &mut Vec<Op>) {
        match found {
            Some(from) => self.copy(from, len, ops),
            None => self.literal(len, ops),
        }
    }

    /// The last run, if the source is not empty.
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
