//! The rate of a count, and whether it has stalled.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;

/// The shortest time that a rate is taken over.
const ENOUGH: Duration = Duration::from_millis(400);

/// Without progress for this long, the work has stalled.
const STALLED: Duration = Duration::from_secs(3);

/// A count that only grows. indicatif estimates its rate; newer values weigh more.
#[derive(Debug)]
pub(crate) struct Pace {
    estimate: ProgressBar,
    /// When the first value was noted, and the last.
    noted: Option<(Instant, Instant)>,
    /// When the count was last seen to grow, and to which value.
    grew: Option<(Instant, u64)>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { estimate: ProgressBar::hidden(), noted: None, grew: None }
    }
}

impl Pace {
    /// The count is this now.
    pub(crate) fn note(&mut self, now: Instant, count: u64) {
        if self.grew.is_none_or(|(_, before)| count > before) {
            self.grew = Some((now, count));
        }
        if self.noted.is_none() {
            // What was there before was not done in this time.
            self.estimate.set_position(count);
            self.estimate.reset_eta();
        }
        self.noted = Some((self.noted.map_or(now, |(first, _)| first), now));
        self.estimate.set_position(count);
    }

    /// The count per second; `None` until it was watched for long enough.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is no less than 0, and one that is too large becomes the largest"
    )]
    pub(crate) fn per_second(&self) -> Option<u64> {
        let (first, last) = self.noted?;
        let is_enough = last.saturating_duration_since(first) >= ENOUGH;
        is_enough.then(|| self.estimate.per_sec() as u64)
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
    fn it_stalls_when_nothing_comes() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        assert!(!pace.has_stalled(at(9)));
        for second in 0..=2 {
            pace.note(at(second), second);
        }
        assert!(!pace.has_stalled(at(4)) && pace.has_stalled(at(5)));
        (3..20).for_each(|second| pace.note(at(second), 2));
        assert!(pace.has_stalled(at(19)));
        pace.note(at(20), 3);
        assert!(!pace.has_stalled(at(20)));
    }

    #[test]
    fn a_rate_is_known_once_the_count_was_watched_for_a_while() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        pace.note(began, 1 << 40);
        assert_eq!((pace.per_second(), pace.left(5)), (None, None));
        pace.note(began + ENOUGH, (1 << 40) + 1000);
        // What was there at first is no part of it.
        assert!(pace.per_second().is_some_and(|rate| rate < 1 << 40), "{:?}", pace.per_second());
    }
}
