//! Limits a sender to a rate. No clock.

use std::time::{Duration, Instant};

/// How much lost time a sender may catch up, so that pauses do not become bursts.
const BURST: Duration = Duration::from_millis(100);

/// A rate limit.
pub(crate) struct Pace {
    rate: Option<u64>,
    /// When the rate allows all bytes sent so far.
    paid: Instant,
}

impl Pace {
    /// At most `rate` bytes a second; `None` is no limit.
    pub(crate) fn new(rate: Option<u64>, now: Instant) -> Self {
        Self { rate, paid: now }
    }

    /// Records that bytes were sent. Returns how long to wait before the next ones.
    pub(crate) fn sent(&mut self, bytes: u64, now: Instant) -> Option<Duration> {
        let rate = self.rate?.max(1);
        let cost = Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        self.paid = self.paid.max(earliest) + cost;
        self.paid.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_bytes_takes_a_second_whatever_the_pieces() {
        let begin = Instant::now();
        let mut pace = Pace::new(Some(1000), begin);
        let mut now = begin;
        for _ in 0..50 {
            now += pace.sent(100, now).unwrap_or_default();
        }
        assert_eq!(now - begin, Duration::from_secs(5));
        // An hour of silence gives no hour's worth of burst.
        now += Duration::from_secs(3600);
        assert_eq!(pace.sent(1100, now), Some(Duration::from_secs(1)));
        assert_eq!(Pace::new(None, now).sent(u64::MAX, now), None);
    }
}
