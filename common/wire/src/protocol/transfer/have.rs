//! What the receiver has of the offered file.

use serde::{Deserialize, Serialize};

use super::delta::Basis;
use crate::limits::CHUNK;
use crate::protocol::invalid::Invalid;

/// Most ranges in one [`Have`].
pub const MAX_RANGES: usize = 1024;

/// What the receiver has of the offered file: the result of an interrupted attempt, and perhaps an older
/// file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Have {
    /// In ascending order, not adjacent, at most [`MAX_RANGES`].
    pub chunks: Vec<Range>,
    /// One more chunk, of which only the beginning has arrived.
    pub begun: Option<Begun>,
    /// The file that will be replaced, if it may resemble the offered one.
    pub basis: Option<Basis>,
}

/// A chunk whose arrival was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Its index.
    pub chunk: u64,
    /// Bytes of it that have arrived: some, but not all.
    pub len: u32,
}

/// Chunks `first .. first + count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Index of the first chunk.
    pub first: u64,
    /// Number of chunks, at least one.
    pub count: u64,
}

impl Have {
    /// The chunks that both ends compare by their hashes if there is no basis: all that are there, in whole
    /// or in part.
    pub fn compared(&self) -> Vec<Range> {
        let mut compared = self.chunks.clone();
        if let Some(begun) = self.begun {
            let place = compared.partition_point(|range| range.first < begun.chunk);
            compared.insert(place, Range { first: begun.chunk, count: 1 });
        }
        compared
    }

    /// Checks the message against a file of `size` bytes.
    pub fn check(&self, size: u64) -> Result<(), Invalid> {
        let chunks = size.div_ceil(CHUNK as u64);
        // A file of one chunk is quicker to send than to compare, so only its beginning may be named, to be
        // continued.
        self.check_ranges(if chunks > 1 { chunks } else { 0 })?;
        let Some(Begun { chunk, len }) = self.begun else { return Ok(()) };
        let had = |range: &Range| (range.first..range.first + range.count).contains(&chunk);
        let starts = chunk.checked_mul(CHUNK as u64).ok_or(Invalid::Ranges)?;
        let whole = size.saturating_sub(starts).min(CHUNK as u64);
        let fits = len > 0 && u64::from(len) < whole;
        if fits && !self.chunks.iter().any(had) { Ok(()) } else { Err(Invalid::Ranges) }
    }

    fn check_ranges(&self, chunks: u64) -> Result<(), Invalid> {
        let mut free_from = 0;
        for range in &self.chunks {
            let end = range.first.checked_add(range.count).ok_or(Invalid::Ranges)?;
            if range.first < free_from || range.count == 0 || end > chunks {
                return Err(Invalid::Ranges);
            }
            free_from = end + 1;
        }
        if self.chunks.len() > MAX_RANGES { Err(Invalid::Ranges) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_rise_stay_inside_and_never_wrap() {
        const C: u64 = CHUNK as u64;
        let have = |ranges: &[(u64, u64)]| Have {
            chunks: ranges.iter().map(|&(first, count)| Range { first, count }).collect(),
            ..Have::default()
        };
        assert_eq!(have(&[]).check(0), Ok(()));
        assert_eq!(have(&[(0, 2), (3, 1)]).check(3 * C + 1), Ok(()));
        assert_eq!(have(&[(0, 1)]).check(C), Err(Invalid::Ranges));
        for bad in
            [&[(0, 0)][..], &[(0, 5)], &[(1, 1), (0, 1)], &[(0, 2), (2, 1)], &[(1, u64::MAX)]]
        {
            assert_eq!(have(bad).check(4 * C), Err(Invalid::Ranges), "{bad:?}");
        }
        let begun = |chunk, len, ranges: &[(u64, u64)]| {
            let have = Have { begun: Some(Begun { chunk, len }), ..have(ranges) };
            have.check(3 * C + 9).map(|()| have.compared().len())
        };
        assert_eq!((begun(3, 8, &[]), begun(2, 1, &[(0, 1), (3, 1)])), (Ok(1), Ok(3)));
        for (chunk, len, ranges) in [
            (3, 9, &[][..]),
            (3, 0, &[]),
            (4, 1, &[]),
            (u64::MAX, 1, &[]),
            (0, 1 << 19, &[]),
            (1, 1, &[(0, 2)]),
        ] {
            assert_eq!(begun(chunk, len, ranges), Err(Invalid::Ranges), "{chunk} {len}");
        }
    }
}
