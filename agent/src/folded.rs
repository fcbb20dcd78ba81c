//! Folds log lines that a peer can cause at will: the first of a kind is written at once, those that follow
//! within a minute are counted, and one line then reports the count.
//!
//! A state machine without a clock. Its size is bounded: kinds beyond [`MOST`] share one count.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How long lines of a kind are counted before the count is reported.
pub const WINDOW: Duration = Duration::from_secs(60);

/// Most kinds that are counted separately at a time.
const MOST: usize = 512;

/// The lines that are being counted, by kind.
pub struct Folded<K> {
    sorts: HashMap<K, Sort>,
    /// Lines of further kinds.
    others: Option<Sort>,
}

struct Sort {
    since: Instant,
    /// Lines that were not written.
    count: u64,
}

impl<K: Hash + Eq> Default for Folded<K> {
    fn default() -> Self {
        Self { sorts: HashMap::new(), others: None }
    }
}

impl<K: Hash + Eq + Display> Folded<K> {
    /// Counts a line of this kind, and returns whether it is to be written.
    pub fn is_news(&mut self, sort: K, now: Instant) -> bool {
        let fresh = Sort { since: now, count: 0 };
        if let Some(known) = self.sorts.get_mut(&sort) {
            known.count += 1;
            return false;
        }
        if self.sorts.len() < MOST {
            self.sorts.insert(sort, fresh);
            return true;
        }
        self.others.get_or_insert(fresh).count += 1;
        false
    }

    /// When the next count is to be reported, if any.
    pub fn due(&self) -> Option<Instant> {
        let kept = self.sorts.values().chain(&self.others);
        kept.map(|sort| sort.since + WINDOW).min()
    }

    /// The counts of windows that have ended by now, as text.
    pub fn take(&mut self, now: Instant) -> Vec<String> {
        let over = |sort: &Sort| sort.since + WINDOW <= now;
        let ended = self.sorts.extract_if(|_, sort| over(sort)).filter(|(_, sort)| sort.count > 0);
        let mut told: Vec<String> =
            ended.map(|(name, Sort { count, .. })| format!("{name}: {count} more")).collect();
        told.sort_unstable();
        if let Some(Sort { count, .. }) = self.others.take_if(|sort| over(sort)) {
            told.push(format!("from other sources: {count} more"));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_sort_is_written_and_the_rest_of_its_minute_counted() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut folded = Folded::default();
        assert_eq!((folded.due(), folded.take(at(0)).len()), (None, 0));
        assert!(folded.is_news("a", at(0)) && folded.is_news("b", at(30)));
        assert!(!folded.is_news("a", at(1)) && !folded.is_news("a", at(59)));
        assert_eq!(folded.due(), Some(at(60)));
        assert!(folded.take(at(59)).is_empty());
        assert_eq!(folded.take(at(60)), ["a: 2 more"]);
        assert!(folded.is_news("a", at(61)), "a new minute");
        assert!(folded.take(at(90)).is_empty(), "b was written, and nothing more of it came");
        assert_eq!(folded.due(), Some(at(121)));
    }

    #[test]
    fn however_many_sorts_come_what_is_kept_and_told_is_bounded() {
        let now = Instant::now();
        let mut folded = Folded::default();
        let written = (0..100_000).filter(|&sort| folded.is_news(sort, now)).count();
        assert_eq!((written, folded.sorts.len()), (MOST, MOST));
        assert_eq!(folded.take(now + WINDOW), ["from other sources: 99488 more"]);
        assert_eq!(folded.due(), None);
    }
}
