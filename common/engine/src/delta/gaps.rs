//! The ranges of a file that are to be rebuilt: all of it, or what earlier attempts did not leave.

use super::Op;
use lariat_wire::limits::CHUNK;
use lariat_wire::protocol::transfer::Range;

/// Ranges of bytes, in rising order.
#[derive(Clone, Debug)]
pub struct Gaps(Vec<(u64, u64)>);

impl Gaps {
    /// The chunks of `missing` in a file of `size` bytes.
    pub fn new(missing: &[Range], size: u64) -> Self {
        let chunk = CHUNK as u64;
        let gap =
            |range: &Range| (range.first * chunk, ((range.first + range.count) * chunk).min(size));
        Self(missing.iter().map(gap).collect())
    }

    /// A whole file of `size` bytes.
    pub fn whole(size: u64) -> Self {
        Self(if size > 0 { vec![(0, size)] } else { Vec::new() })
    }

    /// Appends the parts of a run at `offset` that are in a range, with their offsets, to `parts`. Runs
    /// must come in rising order.
    pub fn clip(&mut self, offset: u64, run: Op, parts: &mut Vec<(u64, Op)>) {
        let end = offset + u64::from(run.length());
        let passed = self.0.partition_point(|&(_, gap_end)| gap_end <= offset);
        self.0.drain(..passed);
        for &(gap_start, gap_end) in self.0.iter().take_while(|&&(start, _)| start < end) {
            let (start, end) = (offset.max(gap_start), end.min(gap_end));
            let len = u32::try_from(end - start).expect("a part is no longer than its run");
            let part = match run {
                Op::Copy { from, .. } => Op::Copy { from: from + (start - offset), len },
                Op::Literal { .. } => Op::Literal { len },
            };
            parts.push((start, part));
        }
    }

    /// The first range, and the rest.
    pub(super) fn next(&mut self) -> Option<(u64, u64)> {
        if self.0.is_empty() { None } else { Some(self.0.remove(0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_cut_to_the_gaps() {
        let chunk = CHUNK as u64;
        let gaps = [Range { first: 1, count: 1 }, Range { first: 3, count: 2 }];
        let mut gaps = Gaps::new(&gaps, 4 * chunk + 10);
        let mut parts = Vec::new();
        let len = u32::try_from(chunk).unwrap();
        gaps.clip(0, Op::Literal { len: len / 2 }, &mut parts);
        assert_eq!(parts, []);
        gaps.clip(chunk / 2, Op::Copy { from: 7, len: 3 * len }, &mut parts);
        let half = chunk / 2;
        assert_eq!(
            parts,
            [
                (chunk, Op::Copy { from: 7 + half, len }),
                (3 * chunk, Op::Copy { from: 7 + 5 * half, len: len / 2 }),
            ]
        );
        parts.clear();
        gaps.clip(7 * half, Op::Literal { len: len / 2 + 10 }, &mut parts);
        assert_eq!(parts, [(7 * half, Op::Literal { len: len / 2 + 10 })]);
    }
}
