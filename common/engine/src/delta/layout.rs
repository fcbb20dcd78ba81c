//! Checks the runs from the sender: each begins where the one before ended, copies stay within the basis, and
//! together they fill exactly what is missing.

use super::{BadDelta, Gaps, MAX_COPY, MAX_LITERAL, Op};

/// The position of the next run. Runs are not trusted.
pub struct Layout {
    basis_size: u64,
    gaps: Gaps,
    /// The range that is being filled.
    at: u64,
    end: u64,
}

impl Layout {
    /// For a basis of `basis_size` bytes and the ranges that are to be filled.
    pub fn new(basis_size: u64, gaps: Gaps) -> Self {
        let mut layout = Self { basis_size, gaps, at: 0, end: 0 };
        layout.advance();
        layout
    }

    /// Takes the next run, and returns its offset. After an error the transfer must be ended.
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
        if len > self.end - self.at {
            return Err(BadDelta::Size);
        }
        let at = self.at;
        self.at += len;
        self.advance();
        Ok(at)
    }

    /// Whether all ranges are filled.
    pub fn is_done(&self) -> bool {
        self.at == self.end
    }

    fn advance(&mut self) {
        if self.at == self.end
            && let Some((start, end)) = self.gaps.next()
        {
            (self.at, self.end) = (start, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_fill_the_file_exactly() {
        let mut layout = Layout::new(100, Gaps::whole(30));
        assert_eq!(layout.place(Op::Copy { from: 90, len: 10 }), Ok(0));
        assert_eq!(layout.place(Op::Literal { len: 15 }), Ok(10));
        assert_eq!(layout.place(Op::Literal { len: 6 }), Err(BadDelta::Size));
        assert!(!layout.is_done());
        assert_eq!(layout.place(Op::Copy { from: 0, len: 5 }), Ok(25));
        assert!(layout.is_done());
        assert_eq!(layout.place(Op::Literal { len: 1 }), Err(BadDelta::Size));
        assert!(Layout::new(0, Gaps::whole(0)).is_done());
    }

    #[test]
    fn runs_stay_within_a_gap() {
        use lariat_wire::limits::CHUNK;
        use lariat_wire::protocol::transfer::Range;
        let chunk = CHUNK as u64;
        let gaps = [Range { first: 1, count: 1 }, Range { first: 3, count: 1 }];
        let mut layout = Layout::new(0, Gaps::new(&gaps, 3 * chunk + 5));
        let len = u32::try_from(chunk).unwrap();
        assert_eq!(layout.place(Op::Literal { len: len - 1 }), Ok(chunk));
        assert_eq!(layout.place(Op::Literal { len: 2 }), Err(BadDelta::Size));
        assert_eq!(layout.place(Op::Literal { len: 1 }), Ok(2 * chunk - 1));
        assert_eq!(layout.place(Op::Literal { len: 5 }), Ok(3 * chunk));
        assert!(layout.is_done());
    }

    #[test]
    fn a_hostile_run_is_refused() {
        let bad = |op| Layout::new(100, Gaps::whole(u64::MAX)).place(op);
        assert_eq!(bad(Op::Literal { len: 0 }), Err(BadDelta::RunLength));
        assert_eq!(bad(Op::Literal { len: MAX_LITERAL + 1 }), Err(BadDelta::RunLength));
        assert_eq!(bad(Op::Copy { from: 0, len: 0 }), Err(BadDelta::RunLength));
        assert_eq!(bad(Op::Copy { from: 0, len: u32::MAX }), Err(BadDelta::RunLength));
        assert_eq!(bad(Op::Copy { from: 91, len: 10 }), Err(BadDelta::Copy));
        assert_eq!(bad(Op::Copy { from: u64::MAX, len: 1 }), Err(BadDelta::Copy));
        assert_eq!(bad(Op::Copy { from: 0, len: 100 }), Ok(0));
    }
}
