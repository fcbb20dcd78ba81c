//! Finds the chunks that must be sent again. No I/O.
//!
//! Both ends hash the chunks that an earlier attempt left or that were rebuilt from a basis, each end at its own
//! pace. A chunk whose hashes differ is sent again.

use std::collections::{HashMap, VecDeque};

use crate::error::TransferError;
use lariat_wire::protocol::transfer::{Hash, Hashes, Range};

/// Pairs the two ends' hashes.
pub(crate) struct Reconcile {
    /// Chunks whose hash the other end has not sent.
    awaited: Vec<bool>,
    /// The number of chunks that are not compared.
    open: usize,
    ours: HashMap<u64, Hash>,
    theirs: HashMap<u64, Hash>,
    differing: VecDeque<u64>,
}

/// A hash of a chunk that is not compared, or a second one of the same chunk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotAwaited;

impl From<NotAwaited> for TransferError {
    fn from(NotAwaited: NotAwaited) -> Self {
        Self::misbehaved("it hashed a chunk that it does not have")
    }
}

impl Reconcile {
    /// For these chunks.
    pub(crate) fn new(chunks: &[Range]) -> Self {
        let end = chunks.last().map_or(0, |last| last.first + last.count);
        let mut awaited = vec![false; usize::try_from(end).unwrap_or_default()];
        let mut open = 0;
        for index in indices(chunks) {
            awaited[usize::try_from(index).expect("it is below the last range's end")] = true;
            open += 1;
        }
        Self {
            awaited,
            open,
            ours: HashMap::new(),
            theirs: HashMap::new(),
            differing: VecDeque::new(),
        }
    }

    /// Adds a hash of this end.
    pub(crate) fn ours(&mut self, index: u64, hash: Hash) {
        match self.theirs.remove(&index) {
            Some(theirs) => self.compare(index, hash, theirs),
            None => drop(self.ours.insert(index, hash)),
        }
    }

    /// Adds a hash of the other end.
    pub(crate) fn theirs(&mut self, index: u64, hash: Hash) -> Result<(), NotAwaited> {
        let place = usize::try_from(index).ok().and_then(|index| self.awaited.get_mut(index));
        if !place.is_some_and(std::mem::take) {
            return Err(NotAwaited);
        }
        match self.ours.remove(&index) {
            Some(ours) => self.compare(index, ours, hash),
            None => drop(self.theirs.insert(index, hash)),
        }
        Ok(())
    }

    /// Adds a message of hashes from the other end.
    pub(crate) fn add_theirs(&mut self, hashes: Hashes) -> Result<(), NotAwaited> {
        (0..).zip(hashes.hashes).try_for_each(|(place, hash)| {
            let index = hashes.first.checked_add(place).ok_or(NotAwaited)?;
            self.theirs(index, hash)
        })
    }

    /// The next chunk whose hashes differ, among those compared so far.
    pub(crate) fn next_differing(&mut self) -> Option<u64> {
        self.differing.pop_front()
    }

    /// Whether every chunk was compared, and [`Self::next_differing`] has returned all that differ.
    pub(crate) fn is_done(&self) -> bool {
        self.open == 0 && self.differing.is_empty()
    }

    fn compare(&mut self, index: u64, ours: Hash, theirs: Hash) {
        self.open -= 1;
        if ours != theirs {
            self.differing.push_back(index);
        }
    }
}

/// The chunks of `ranges`, in order.
pub(crate) fn indices(ranges: &[Range]) -> impl Iterator<Item = u64> {
    ranges.iter().flat_map(|range| range.first..range.first + range.count)
}

/// The ranges of `0..chunks` that are not in `have`, which is in rising order.
pub(crate) fn missing(have: &[Range], chunks: u64) -> Vec<Range> {
    let starts = std::iter::once(0).chain(have.iter().map(|range| range.first + range.count));
    let ends = have.iter().map(|range| range.first).chain(std::iter::once(chunks));
    let ranges = starts.zip(ends).map(|(first, end)| Range { first, count: end - first });
    ranges.filter(|range| range.count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HAVE: [Range; 2] = [Range { first: 1, count: 2 }, Range { first: 5, count: 1 }];

    #[test]
    fn missing_is_what_is_not_had() {
        let missing = |have: &[Range], chunks| indices(&missing(have, chunks)).collect::<Vec<_>>();
        assert_eq!(missing(&HAVE, 7), [0, 3, 4, 6]);
        assert_eq!(missing(&[], 2), [0, 1]);
        assert_eq!(missing(&[Range { first: 0, count: 2 }], 2), []);
        assert_eq!(missing(&[], 0), []);
    }

    #[test]
    fn hashes_that_nobody_asked_for_are_refused() {
        let mut reconcile = Reconcile::new(&HAVE);
        assert_eq!(reconcile.theirs(1, [0; 32]), Ok(()));
        for index in [1, 0, 3, 6, u64::MAX] {
            assert_eq!(reconcile.theirs(index, [0; 32]), Err(NotAwaited), "{index}");
        }
    }

    proptest! {
        #[test]
        fn in_whatever_order_exactly_the_differing_are_found(
            chunks in prop::collection::vec((any::<bool>(), any::<u8>(), any::<u8>()), 0..20),
        ) {
            let have = Range { first: 3, count: chunks.len() as u64 };
            let have = if chunks.is_empty() { vec![] } else { vec![have] };
            let mut reconcile = Reconcile::new(&have);
            let mut steps = vec![];
            for (index, &(differs, ours, theirs)) in (3..).zip(&chunks) {
                steps.push((ours, index, None));
                steps.push((theirs, index, Some(u8::from(differs))));
            }
            steps.sort_unstable_by_key(|&(order, ..)| order);
            let mut found = vec![];
            for (_, index, theirs) in steps {
                prop_assert!(!reconcile.is_done());
                match theirs {
                    Some(byte) => reconcile.theirs(index, [byte; 32]).unwrap(),
                    None => reconcile.ours(index, [0; 32]),
                }
                found.extend(reconcile.next_differing());
            }
            found.sort_unstable();
            let expected: Vec<u64> =
                (3..).zip(&chunks).filter(|(_, (differs, ..))| *differs).map(|(i, _)| i).collect();
            prop_assert_eq!(found, expected);
            prop_assert!(reconcile.is_done());
        }
    }
}
