//! When a gateway is dialled again: after a random part of a time that doubles with each attempt, so that the hosts of a
//! gateway that comes back do not all come at once ("full jitter"). No clock and no random numbers.

use std::time::Duration;

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(30);

/// A connection that was parked for this long was worth it: the next attempt is the first of a new series.
const WORTH: Duration = Duration::from_secs(30);

/// The waits between attempts.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    first: Duration,
    failures: u32,
}

impl Backoff {
    /// The first wait is up to `first`.
    pub(super) fn new(first: Duration) -> Self {
        Self { first, failures: 0 }
    }

    /// An attempt failed, or a connection ended that was parked for this long. Returns the longest that the next
    /// attempt may wait, of which the caller takes a random part.
    pub(super) fn failed(&mut self, parked: Duration) -> Duration {
        if parked >= WORTH {
            self.failures = 0;
        }
        let factor = 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.first.saturating_mul(factor).min(LONGEST)
    }

    /// A controller has used a connection.
    pub(super) fn used(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_begin_anew_once_a_connection_was_worth_it() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        let mut failed =
            |parked| (0..7).map(|_| backoff.failed(parked).as_secs()).collect::<Vec<_>>();
        assert_eq!(failed(Duration::ZERO), [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(failed(WORTH), [1; 7]);
        let mut backoff = Backoff::new(Duration::from_secs(10));
        (0..100).for_each(|_| _ = backoff.failed(Duration::ZERO));
        assert_eq!(backoff.failed(Duration::from_secs(29)), LONGEST);
        backoff.used();
        assert_eq!(backoff.failed(Duration::ZERO), Duration::from_secs(10));
    }

    /// A thousand hosts whose gateway was away, each with a first connection that waits as it should.
    #[test]
    fn a_thousand_hosts_are_back_within_a_minute_and_never_all_at_once() {
        for down in [0.5, 3.0, 20.0, 600.0] {
            let mut random = 1_u64;
            let mut next = move || {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                f64::from(u32::try_from(random >> 33).unwrap()) / f64::from(1_u32 << 31)
            };
            let mut back: Vec<f64> = (0..1000)
                .map(|_| {
                    let (mut backoff, mut now) = (Backoff::new(Duration::from_secs(1)), 0.0);
                    while now < down {
                        now += backoff.failed(Duration::ZERO).as_secs_f64() * next();
                    }
                    now - down
                })
                .collect();
            back.sort_by(f64::total_cmp);
            assert!(back[999] <= 30.0, "{down}: {}", back[999]);
            // The gateway lets in 80 of them a second, one after another.
            let in_first = back.iter().filter(|&&at| at < 0.1).count();
            assert!(in_first < 300, "{down}: {in_first} at once");
        }
    }
}
