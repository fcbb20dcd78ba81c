//! Decides how many connections are worth it, from the rate that they reach together. No clock.
//!
//! The number is doubled as long as the rate follows: a step of as many connections as there are shows clearly in a
//! rate that varies by itself, where one more among several would not. A step that does not pay is taken back, and tried
//! again later: a connection's slow start overshoots, so the first rate may be one that it never reaches again.

use std::time::{Duration, Instant};

/// How long a rate is measured.
const WINDOW: Duration = Duration::from_secs(1);

/// How long new connections may take until they are measured: they log in, and then find their rate by themselves.
const SETTLE: Duration = Duration::from_millis(1500);

/// How long the first step that did not pay is not tried again. It doubles each time.
const REST: Duration = Duration::from_secs(3);

/// The longest rest.
const LONGEST_REST: Duration = Duration::from_secs(48);

/// How much the rate must rise for each connection that was added, in percent.
const WORTH: u64 = 15;

/// The number of connections of a transfer.
pub(super) struct Policy {
    most: usize,
    streams: usize,
    /// Before the step that is being judged: connections, and bytes a second.
    before: Option<(usize, u64)>,
    rest: Duration,
    phase: Phase,
}

enum Phase {
    /// The rate is not looked at until then.
    Settle(Instant),
    /// Since when, and the bytes that had moved by then.
    Measure(Instant, u64),
    /// Nothing changes until then.
    Rest(Instant),
}

impl Policy {
    /// For a transfer that begins with this many connections, and may have `most`.
    pub(super) fn new(streams: usize, most: usize, now: Instant) -> Self {
        // The first connection's own slow start would count for those that are added.
        let phase = Phase::Settle(now + WINDOW);
        Self { most, streams, before: None, rest: REST, phase }
    }

    /// Lowers the most connections, because the host takes no more.
    pub(super) fn limit(&mut self, most: usize) {
        self.most = self.most.min(most);
        self.streams = self.streams.min(most);
    }

    /// The number of connections to have from now on, when `moved` bytes have moved so far.
    pub(super) fn step(&mut self, now: Instant, moved: u64) -> usize {
        match self.phase {
            Phase::Settle(until) if now >= until => self.phase = Phase::Measure(now, moved),
            Phase::Rest(until) if now >= until => self.phase = Phase::Measure(now, moved),
            Phase::Measure(since, then) if now >= since + WINDOW => {
                let millis = u64::try_from((now - since).as_millis()).unwrap_or(u64::MAX);
                let rate = moved.saturating_sub(then).saturating_mul(1000) / millis.max(1);
                self.measured(rate, now);
            }
            Phase::Settle(_) | Phase::Measure(..) | Phase::Rest(_) => {}
        }
        self.streams
    }

    fn measured(&mut self, rate: u64, now: Instant) {
        if let Some((streams, before)) = self.before.take() {
            let added = self.streams.saturating_sub(streams) as u64;
            let enough = u128::from(before) * u128::from(100 + WORTH * added);
            if u128::from(rate) * 100 <= enough {
                self.streams = streams;
                self.phase = Phase::Rest(now + self.rest);
                self.rest = (self.rest * 2).min(LONGEST_REST);
                return;
            }
            self.rest = REST;
        }
        if self.streams < self.most {
            self.before = Some((self.streams, rate));
            self.streams = (self.streams * 2).min(self.most);
            self.phase = Phase::Settle(now + SETTLE);
        } else {
            self.phase = Phase::Rest(now + LONGEST_REST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a transfer for so long at `rate`, bytes a second for a number of connections. Returns how many there
    /// were after each second.
    fn run(most: usize, seconds: u32, rate: impl Fn(usize) -> u64) -> Vec<usize> {
        let begin = Instant::now();
        let mut policy = Policy::new(1, most, begin);
        let (mut moved, mut streams, mut each) = (0, 1, Vec::new());
        for quarter in 1..=seconds * 4 {
            moved += rate(streams) / 4;
            streams = policy.step(begin + Duration::from_millis(250) * quarter, moved);
            if quarter % 4 == 0 {
                each.push(streams);
            }
        }
        each
    }

    #[test]
    fn connections_that_bring_their_share_are_kept_up_to_the_most() {
        let seen = run(8, 12, |streams| 1000 * streams as u64);
        assert_eq!((seen[0], seen[1], seen[11]), (1, 2, 8), "{seen:?}");
        assert!(seen.is_sorted() && seen.contains(&4), "{seen:?}");
        assert_eq!(run(3, 12, |streams| 1000 * streams as u64)[11], 3);
        assert_eq!(run(1, 12, |_| 1000)[11], 1);
    }

    #[test]
    fn a_step_that_does_not_pay_is_taken_back_and_tried_again_much_later() {
        let full = run(8, 200, |_| 1000);
        assert_eq!((full[2], full[5]), (2, 1), "{full:?}");
        let steps = full.windows(2).filter(|pair| pair == &[1, 2]).count();
        assert!((4..9).contains(&steps), "{steps} in 200 seconds: {full:?}");
        // Room for three and a half.
        let some = run(8, 60, |streams| (1000 * streams as u64).min(3500));
        let of = |streams| some.iter().filter(|&&seen| seen == streams).count();
        assert!(of(4) > 2 * of(8) && of(8) > 0 && some.ends_with(&[4]), "{some:?}");
    }

    #[test]
    fn a_first_rate_that_does_not_last_holds_nothing_up_for_long() {
        let begin = Instant::now();
        let mut policy = Policy::new(1, 8, begin);
        let (mut moved, mut streams) = (0, 1);
        for quarter in 1..=100 {
            let slow_start = if quarter < 12 { 5 } else { 1 };
            moved += 250 * slow_start * streams as u64;
            streams = policy.step(begin + Duration::from_millis(250) * quarter, moved);
        }
        assert_eq!(streams, 8);
    }

    #[test]
    fn a_rise_must_be_worth_fifteen_percent_for_each() {
        let taken_back = |percent: u64| {
            let seen = run(2, 20, |n| if n == 1 { 1000 } else { 1000 + 10 * percent });
            seen.windows(2).any(|pair| pair == [2, 1])
        };
        assert_eq!((taken_back(15), taken_back(16)), (true, false));
    }

    #[test]
    fn a_host_that_takes_no_more_is_not_asked_again() {
        let begin = Instant::now();
        let mut policy = Policy::new(1, 8, begin);
        let at = |millis| begin + Duration::from_millis(millis);
        let seen: Vec<usize> = (1..60)
            .map(|tick| {
                let streams = policy.step(at(tick * 250), tick * tick * 1000);
                if streams > 3 {
                    policy.limit(3);
                }
                streams.min(3)
            })
            .collect();
        assert!(seen.iter().all(|&streams| streams <= 3) && seen.ends_with(&[3]), "{seen:?}");
    }
}
