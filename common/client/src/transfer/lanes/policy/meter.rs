//! The recent rate of a transfer. No clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far back samples are kept.
const MEMORY: Duration = Duration::from_secs(4);

/// The total number of bytes at recent instants.
#[derive(Default)]
pub(super) struct Meter(VecDeque<(Instant, u64)>);

impl Meter {
    /// Records the total number of bytes.
    pub(super) fn add(&mut self, now: Instant, bytes: u64) {
        while self.0.front().is_some_and(|&(then, _)| now - then > MEMORY) {
            self.0.pop_front();
        }
        self.0.push_back((now, bytes));
    }

    /// Bytes per second in the last `span`.
    pub(super) fn rate(&self, span: Duration) -> u64 {
        self.rate_until(self.0.len().saturating_sub(1), span).0
    }

    /// Whether the rate rises by more than this many percent from one `span` to the next.
    pub(super) fn is_rising(&self, span: Duration, percent: u64) -> bool {
        let (last, begin) = self.rate_until(self.0.len().saturating_sub(1), span);
        exceeds(last, self.rate_until(begin, span).0, percent)
    }

    /// The rate in the `span` that ends with this entry, and the entry with which it begins.
    fn rate_until(&self, last: usize, span: Duration) -> (u64, usize) {
        let Some(&(now, bytes)) = self.0.get(last) else { return (0, 0) };
        let is_within = |&&(then, _): &&(Instant, u64)| now - then < span;
        let inside = self.0.iter().take(last).rev().take_while(is_within).count();
        // The span extends back to the first sample before it, if there is one.
        let first = (last - inside).saturating_sub(1);
        let (then, before) = self.0[first];
        let millis = u64::try_from((now - then).as_millis()).unwrap_or(u64::MAX);
        (bytes.saturating_sub(before).saturating_mul(1000) / millis.max(1), first)
    }
}

/// Whether a rate exceeds another one by more than this many percent.
pub(super) fn exceeds(rate: u64, other: u64, percent: u64) -> bool {
    u128::from(rate) * 100 > u128::from(other) * u128::from(100 + percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_spans() {
        let (mut meter, begin) = (Meter::default(), Instant::now());
        assert_eq!(meter.rate(Duration::from_secs(1)), 0);
        assert!(!meter.is_rising(Duration::from_secs(1), 0));
        let mut bytes = 0;
        for tick in 0..=400_u64 {
            meter.add(begin + Duration::from_millis(50) * u32::try_from(tick).unwrap(), bytes);
            bytes += if tick < 380 { 5 } else { 6 };
        }
        let rate = |millis| meter.rate(Duration::from_millis(millis));
        assert_eq!((rate(100), rate(1000), rate(2000)), (120, 120, 110));
        let is_rising = |percent| meter.is_rising(Duration::from_secs(1), percent);
        assert_eq!((is_rising(19), is_rising(20)), (true, false));
        assert!(meter.0.len() <= 82);
    }
}
