//! Decides when to ping a silent peer and when to give it up. No clock and no I/O.
//!
//! Silence is counted in steps of [`PING_AFTER`], each of which begins when the end of the previous one was
//! noticed. So time in which this end was busy and did not read counts as one step at most, and is not held
//! against the peer.

use std::time::{Duration, Instant};

use crate::limits::{DEAD_AFTER, PING_AFTER};

/// Steps of silence before the peer is given up.
#[expect(clippy::cast_possible_truncation, reason = "a handful")]
const STEPS: u32 = (DEAD_AFTER.as_millis() / PING_AFTER.as_millis()) as u32;

/// How long the peer has been silent.
pub(super) struct Keepalive {
    /// When the current step began.
    began: Instant,
    deadline: Instant,
    /// What the earlier steps count.
    counted: Duration,
    steps: u32,
    /// The rest of the first step, after an early ping.
    rest: Option<Duration>,
}

/// What to do at the end of a step of silence.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send a ping.
    Ping,
    /// Give the peer up.
    Dead,
}

impl Keepalive {
    /// Counts from `now` on; the first ping is due after `first`.
    pub(super) fn new(now: Instant, first: Duration) -> Self {
        let rest = PING_AFTER.checked_sub(first).filter(|rest| !rest.is_zero());
        Self { began: now, deadline: now + first, counted: Duration::ZERO, steps: 0, rest }
    }

    /// The end of the current step.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// How long the peer was silent until `now`.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        self.counted + now.min(self.deadline).saturating_duration_since(self.began)
    }

    /// Ends the step. To be called when the deadline has passed and nothing was there to read.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        self.counted = self.silence(now);
        self.began = now;
        if let Some(rest) = self.rest.take() {
            self.deadline = now + rest;
            return Step::Ping;
        }
        self.deadline = now + PING_AFTER;
        self.steps += 1;
        if self.steps >= STEPS { Step::Dead } else { Step::Ping }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_twice_then_gives_up() {
        let mut now = Instant::now();
        let mut silence = Keepalive::new(now, PING_AFTER);
        for expected in [Step::Ping, Step::Ping, Step::Dead] {
            now = silence.deadline();
            assert_eq!(silence.step(now), expected);
        }
    }

    #[test]
    fn an_hour_in_which_we_did_not_look_is_one_step() {
        let now = Instant::now();
        let mut silence = Keepalive::new(now, PING_AFTER);
        let later = now + Duration::from_secs(3600);
        assert_eq!(silence.step(later), Step::Ping);
        assert_eq!(silence.deadline(), later + PING_AFTER);
        assert_eq!(
            silence.silence(later + Duration::from_secs(3)),
            PING_AFTER + Duration::from_secs(3)
        );
        assert_eq!(silence.silence(later + Duration::from_secs(3600)), 2 * PING_AFTER);
    }

    #[test]
    fn an_early_ping_does_not_end_it_earlier() {
        let begin = Instant::now();
        let mut now = begin;
        let mut silence = Keepalive::new(now, Duration::from_secs(1));
        let mut at = Vec::new();
        loop {
            now = silence.deadline();
            at.push((now - begin).as_secs());
            if silence.step(now) == Step::Dead {
                break;
            }
        }
        assert_eq!(at, [1, 10, 20, 30]);
    }
}
