//! How often probes are answered. No clock.

use std::time::{Duration, Instant};

/// Most answers in any second.
pub(super) const MOST: usize = 10;

const SECOND: Duration = Duration::from_secs(1);

/// The answers of the last second.
#[derive(Default)]
pub(super) struct Rate(Vec<Instant>);

impl Rate {
    /// Whether one more may be given at this moment, which then counts. Moments come in order.
    pub(super) fn allows(&mut self, at: Instant) -> bool {
        self.0.retain(|given| at.saturating_duration_since(*given) < SECOND);
        let may = self.0.len() < MOST;
        if may {
            self.0.push(at);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_no_second_are_there_more() {
        let (mut rate, begin) = (Rate::default(), Instant::now());
        let given: Vec<_> = (0..3000)
            .map(|millis| begin + Duration::from_millis(millis))
            .filter(|at| rate.allows(*at))
            .collect();
        assert_eq!(given.len(), 3 * MOST);
        for start in &given {
            assert!(
                given.iter().filter(|at| *at >= start && **at < *start + SECOND).count() <= MOST
            );
        }
    }
}
