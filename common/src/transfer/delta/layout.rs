//! Checks a sender's runs on the receiving end, and says where in the file each belongs.

use super::{BadDelta, MAX_COPY, MAX_LITERAL, Op};

/// Lays the runs of a file one after the other. No I/O.
pub struct Layout {
    basis_size: u64,
    size: u64,
    filled: u64,
}

impl Layout {
    /// For a file of `size` bytes, rebuilt from a basis of `basis_size`.
    pub fn new(basis_size: u64, size: u64) -> Self {
        Self { basis_size, size, filled: 0 }
    }

    /// The offset in the file at which the next run goes. After an error the transfer must be ended.
    pub fn place(&mut self, op: Op) -> Result<u64, BadDelta> {
        let len = u64::from(op.length());
        let most = match op {
            Op::Copy { .. } => MAX_COPY,
            Op::Literal { .. } => MAX_LITERAL,
        };
        if len == 0 || len > u64::from(most) {
            return Err(BadDelta::RunLength);
        }
        if let Op::Copy { from, .. } = op
            && from.checked_add(len).is_none_or(|end| end > self.basis_size)
        {
            return Err(BadDelta::Copy);
        }
        if len > self.size - self.filled {
            return Err(BadDelta::Size);
        }
        let at = self.filled;
        self.filled += len;
        Ok(at)
    }

    /// Bytes of the file that the runs so far make up.
    pub fn filled(&self) -> u64 {
        self.filled
    }

    /// The sender says that it was the last run.
    pub fn finish(self) -> Result<(), BadDelta> {
        if self.filled == self.size { Ok(()) } else { Err(BadDelta::Size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_fill_the_file_exactly() {
        let mut layout = Layout::new(100, 30);
        assert_eq!(layout.place(Op::Copy { from: 90, len: 10 }), Ok(0));
        assert_eq!(layout.place(Op::Literal { len: 15 }), Ok(10));
        assert_eq!(layout.place(Op::Literal { len: 6 }), Err(BadDelta::Size));
        assert_eq!(layout.place(Op::Copy { from: 0, len: 5 }), Ok(25));
        assert_eq!(layout.filled(), 30);
        assert_eq!(layout.finish(), Ok(()));
        assert_eq!(Layout::new(0, 1).finish(), Err(BadDelta::Size));
        assert_eq!(Layout::new(0, 0).finish(), Ok(()));
    }

    #[test]
    fn a_hostile_run_is_refused() {
        let bad = |op| Layout::new(100, u64::MAX).place(op);
        assert_eq!(bad(Op::Literal { len: 0 }), Err(BadDelta::RunLength));
        assert_eq!(bad(Op::Literal { len: MAX_LITERAL + 1 }), Err(BadDelta::RunLength));
        assert_eq!(bad(Op::Copy { from: 0, len: 0 }), Err(BadDelta::RunLength));
        assert_eq!(bad(Op::Copy { from: 0, len: u32::MAX }), Err(BadDelta::RunLength));
        assert_eq!(bad(Op::Copy { from: 91, len: 10 }), Err(BadDelta::Copy));
        assert_eq!(bad(Op::Copy { from: u64::MAX, len: 1 }), Err(BadDelta::Copy));
        assert_eq!(bad(Op::Copy { from: 0, len: 100 }), Ok(0));
    }
}
