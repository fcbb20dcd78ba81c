//! Limits the connections of a sender to a rate. No clock.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lariat_base::lock::lock;

/// How much lost time a sender may catch up, so that pauses do not become bursts.
const BURST: Duration = Duration::from_millis(100);

/// A rate limit. Clones share it.
#[derive(Clone)]
pub(crate) struct Pace {
    rate: Option<u64>,
    /// When the rate allows all bytes sent so far.
    paid: Arc<Mutex<Instant>>,
}

impl Pace {
    /// At most `rate` bytes a second; `None` is no limit.
    pub(crate) fn new(rate: Option<u64>, now: Instant) -> Self {
        Self { rate, paid: Arc::new(Mutex::new(now)) }
    }

    /// Records that bytes were sent. Returns how long to wait before the next ones.
    pub(crate) fn sent(&self, bytes: u64, now: Instant) -> Option<Duration> {
        let rate = self.rate?.max(1);
        let cost = Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let mut paid = lock(&self.paid);
        *paid = (*paid).max(earliest) + cost;
        paid.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_bytes_takes_a_second_whatever_the_pieces_and_the_connections() {
        let begin = Instant::now();
        let pace = Pace::new(Some(1000), begin);
        let connections = [pace.clone(), pace.clone()];
        let mut now = begin;
        for number in 0..50 {
            now += connections[number % 2].sent(100, now).unwrap_or_default();
        }
        assert_eq!(now - begin, Duration::from_secs(5));
        // An hour of silence gives no hour's worth of burst.
        now += Duration::from_secs(3600);
        assert_eq!(pace.sent(1100, now), Some(Duration::from_secs(1)));
        assert_eq!(Pace::new(None, now).sent(u64::MAX, now), None);
    }
}
