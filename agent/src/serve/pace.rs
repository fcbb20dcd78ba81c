//! Lets hosts that park connections in one after another: when a gateway comes back, all that dial it come at once. No
//! clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The time between two of them: 80 a second.
const EVERY: Duration = Duration::from_micros(12_500);

/// Most that wait. The others come back later.
const MOST: usize = 1024;

/// A queue that gives out what was put into it at a limited rate.
pub(super) struct Pace<T> {
    waiting: VecDeque<T>,
    /// When the next one may be given out.
    next: Option<Instant>,
}

impl<T> Default for Pace<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), next: None }
    }
}

impl<T> Pace<T> {
    /// Adds one. Returns it if too many wait already.
    pub(super) fn push(&mut self, one: T) -> Result<(), T> {
        if self.waiting.len() >= MOST {
            return Err(one);
        }
        self.waiting.push_back(one);
        Ok(())
    }

    /// When the next one is due, if any waits and that is not now.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        self.waiting.front().map(|_| self.next.unwrap_or(now))
    }

    /// The next one, if it is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<T> {
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        let one = self.waiting.pop_front()?;
        self.next = Some(now + EVERY);
        Some(one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_no_second_are_there_more_than_81_and_the_first_waits_for_nothing() {
        let (mut pace, begin) = (Pace::default(), Instant::now());
        let mut given = Vec::new();
        for millis in 0..5000 {
            let now = begin + Duration::from_millis(millis);
            if millis % 1700 == 0 {
                (0..300).for_each(|number| assert_eq!(pace.push(number), Ok(())));
                // They come in the order in which they came.
                assert!(pace.due(now).is_some_and(|due| due <= now + EVERY));
            }
            given.extend(pace.pop(now).map(|_| now));
        }
        assert_eq!(given[0], begin);
        let most = given.iter().map(|&start| {
            given.iter().filter(|&&at| at >= start && at < start + Duration::from_secs(1)).count()
        });
        assert!((70..=81).contains(&most.max().unwrap()));
    }

    #[test]
    fn no_more_than_some_wait() {
        let mut pace = Pace::default();
        assert!((0..MOST).all(|number| pace.push(number).is_ok()));
        assert_eq!(pace.push(MOST), Err(MOST));
        assert_eq!(pace.pop(Instant::now()), Some(0));
        assert!(Pace::<()>::default().due(Instant::now()).is_none());
    }
}
