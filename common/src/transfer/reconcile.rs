//! Which of the chunks that the receiver had must be sent again. No I/O.
//!
//! Both ends hash the same chunks in the same order and at their own pace; a chunk on whose hash they
//! differ is sent again. Nothing that a broken attempt left is believed without this.

use std::collections::VecDeque;

use crate::protocol::transfer::{Hash, Range};

/// Pairs the two ends' hashes.
pub(super) struct Reconcile {
    chunks: std::vec::IntoIter<u64>,
    ours: VecDeque<Hash>,
    theirs: VecDeque<Hash>,
}

impl Reconcile {
    /// For the chunks that the receiver says it has.
    pub(super) fn new(have: &[Range]) -> Self {
        let chunks: Vec<u64> = indices(have).collect();
        Self { chunks: chunks.into_iter(), ours: VecDeque::new(), theirs: VecDeque::new() }
    }

    /// The next hash that this end computed.
    pub(super) fn ours(&mut self, hash: Hash) {
        self.ours.push_back(hash);
    }

    /// The next hashes that the other end computed.
    pub(super) fn theirs(&mut self, hashes: &[Hash]) {
        self.theirs.extend(hashes);
    }

    /// The next chunk on which the ends differ, as far as both have come.
    pub(super) fn next_differing(&mut self) -> Option<u64> {
        while let (Some(ours), Some(theirs)) = (self.ours.front(), self.theirs.front()) {
            let differ = ours != theirs;
            self.ours.pop_front();
            self.theirs.pop_front();
            let chunk = self.chunks.next();
            if differ {
                return chunk;
            }
        }
        None
    }

    /// Whether every chunk has been compared.
    pub(super) fn done(&self) -> bool {
        self.chunks.len() == 0
    }
}

/// The chunks of `ranges`, in order.
pub(super) fn indices(ranges: &[Range]) -> impl Iterator<Item = u64> {
    ranges.iter().flat_map(|range| range.first..range.first + range.count)
}

/// The chunks of `0..chunks` that `have`, in rising order, leaves out.
pub(super) fn missing(have: &[Range], chunks: u64) -> impl Iterator<Item = u64> {
    let starts = std::iter::once(0).chain(have.iter().map(|range| range.first + range.count));
    let ends = have.iter().map(|range| range.first).chain(std::iter::once(chunks));
    starts.zip(ends).flat_map(|(start, end)| start..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HAVE: [Range; 2] = [Range { first: 1, count: 2 }, Range { first: 5, count: 1 }];

    #[test]
    fn missing_is_what_is_not_had() {
        assert_eq!(missing(&HAVE, 7).collect::<Vec<_>>(), [0, 3, 4, 6]);
        assert_eq!(missing(&[], 2).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(missing(&[Range { first: 0, count: 2 }], 2).count(), 0);
        assert_eq!(missing(&[], 0).count(), 0);
    }

    proptest! {
        #[test]
        fn whatever_the_pace_exactly_the_differing_are_found(
            differ in prop::collection::vec(any::<bool>(), 0..20),
            ours_first: u8,
        ) {
            let have = Range { first: 3, count: differ.len() as u64 };
            let have = if differ.is_empty() { vec![] } else { vec![have] };
            let mut reconcile = Reconcile::new(&have);
            let mut found = vec![];
            let lead = usize::from(ours_first) % (differ.len() + 1);
            let feed_ours = |reconcile: &mut Reconcile| reconcile.ours([0; 32]);
            (0..lead).for_each(|_| feed_ours(&mut reconcile));
            for (i, &differs) in differ.iter().enumerate() {
                if i >= lead {
                    feed_ours(&mut reconcile);
                }
                prop_assert!(!reconcile.done());
                reconcile.theirs(&[[u8::from(differs); 32]]);
                found.extend(std::iter::from_fn(|| reconcile.next_differing()));
            }
            let expected: Vec<u64> =
                (3..).zip(&differ).filter(|&(_, &differs)| differs).map(|(i, _)| i).collect();
            prop_assert_eq!(found, expected);
            prop_assert!(reconcile.done());
        }
    }
}
