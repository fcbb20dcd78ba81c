//! The rate of a count over the last seconds. No clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The time that a rate is taken over.
const WINDOW: Duration = Duration::from_secs(5);

/// The time between two samples.
const SAMPLE: Duration = Duration::from_millis(250);

/// The shortest time that a rate is taken over.
const ENOUGH: Duration = Duration::from_millis(400);

/// Without progress for this long, the work has stalled.
const STALLED: Duration = Duration::from_secs(3);

/// The newest samples of a count that only grows.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    samples: VecDeque<(Instant, u64)>,
    /// When the count was last seen to grow, and to which value.
    grew: Option<(Instant, u64)>,
}

impl Pace {
    /// The count is this now.
    pub(crate) fn note(&mut self, now: Instant, count: u64) {
        if self.grew.is_none_or(|(_, before)| count > before) {
            self.grew = Some((now, count));
        }
        let since = |at: Instant| now.saturating_duration_since(at);
        if self.samples.back().is_some_and(|&(at, _)| since(at) < SAMPLE) {
            return;
        }
        self.samples.push_back((now, count));
        while self.samples.get(1).is_some_and(|&(at, _)| since(at) >= WINDOW) {
            self.samples.pop_front();
        }
    }

    /// The count per second; `None` until there are enough samples.
    pub(crate) fn per_second(&self) -> Option<u64> {
        let (&(from, before), &(to, after)) = (self.samples.front()?, self.samples.back()?);
        let took = to.saturating_duration_since(from);
        if took < ENOUGH {
            return None;
        }
        let rate = u128::from(after.saturating_sub(before)) * 1000 / took.as_millis();
        Some(u64::try_from(rate).unwrap_or(u64::MAX))
    }

    /// Whether the count has not grown for some time.
    pub(crate) fn has_stalled(&self, now: Instant) -> bool {
        self.grew.is_some_and(|(at, _)| now.saturating_duration_since(at) >= STALLED)
    }

    /// How long this many more take at the present rate; `None` if that is not known.
    pub(crate) fn left(&self, more: u64) -> Option<Duration> {
        let seconds = more.div_ceil(self.per_second().filter(|&rate| rate > 0)?);
        Some(Duration::from_secs(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        let at = |tenths: u64| began + Duration::from_millis(tenths * 100);
        pace.note(at(0), 1000);
        assert_eq!((pace.per_second(), pace.left(5)), (None, None));
        for tenths in 1..=100 {
            pace.note(at(tenths), 1000 + tenths * 10);
        }
        assert_eq!(
            (pace.per_second(), pace.left(1001)),
            (Some(100), Some(Duration::from_secs(11)))
        );
        // It becomes faster, and after the window nothing is left of the time before.
        for tenths in 101..=160 {
            pace.note(at(tenths), 2000 + (tenths - 100) * 100);
        }
        assert_eq!(pace.per_second(), Some(1000));
        assert!(pace.samples.len() < 25, "{}", pace.samples.len());
    }

    #[test]
    fn it_stalls_when_nothing_comes() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        assert!(!pace.has_stalled(at(9)));
        for second in 0..=2 {
            pace.note(at(second), second);
        }
        assert!(!pace.has_stalled(at(4)) && pace.has_stalled(at(5)));
        (3..20).for_each(|second| pace.note(at(second), 2));
        assert_eq!((pace.per_second(), pace.left(5)), (Some(0), None));
        pace.note(at(20), 3);
        assert!(!pace.has_stalled(at(20)));
    }
}
