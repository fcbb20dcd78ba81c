//! Decides how many connections are useful, from the rate that they reach together. No clock.
//!
//! Each step is a test. Twice as many connections are kept if the rate rises by more than [`WORTH`] percent. A
//! rise by half is sufficient at once: so during the slow start of a long link, whose rate rises by itself,
//! connections are added as fast as they can be made, and it begins with several. Such steps prove nothing, so
//! afterwards connections are removed one by one as long as the rate stays. That is slow, because the others take
//! up the free capacity slowly, and costs little, because it is one at a time.

mod meter;
#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a model counts bytes and seconds in fractions"
)]
mod model;

use std::time::{Duration, Instant};

use meter::{Meter, exceeds};

/// How much a step must raise the rate, in percent.
const WORTH: u64 = 15;

/// A rise that is sufficient without a longer measurement, in percent.
const PLAIN: u64 = 50;

/// How far the rate may be below another one that still counts as equal, in percent.
const SAME: u64 = 5;

/// When the first step is made: by then one connection has filled a short link.
const FIRST_LOOK: Duration = Duration::from_millis(200);

/// A round trip that is worth several connections from the beginning: together they get through slow start sooner.
const LONG: Duration = Duration::from_millis(20);

/// That many, including the first.
const OF_LONG: usize = 4;

/// The shortest measurement that a decision is based on.
const GLANCE: Duration = Duration::from_millis(100);

/// The shortest measurement that is compared with another one.
const WINDOW: Duration = Duration::from_millis(250);

/// The least time that new connections have to reach their rate.
const SETTLE: Duration = Duration::from_millis(300);

/// The most time that they have.
const LONG_SETTLE: Duration = Duration::from_secs(3);

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(4);

/// The remaining time below which nothing is changed.
const TOO_LATE: Duration = Duration::from_secs(1);

/// The first pause between tests, which doubles each time.
const REST: Duration = Duration::from_secs(2);

/// The longest pause, after which earlier results are tested again.
const LONGEST_REST: Duration = Duration::from_secs(48);

/// The state of a transfer at an instant.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    pub(super) now: Instant,
    /// Bytes that the connections have carried so far.
    pub(super) carried: u64,
    /// Bytes that remain to be transferred.
    pub(super) left: u64,
    /// Established connections, including the first.
    pub(super) connected: usize,
}

/// The number of connections of a transfer.
pub(super) struct Policy {
    most: usize,
    streams: usize,
    meter: Meter,
    /// How long the last connections took to be established: a few round trips.
    connect: Duration,
    /// Fewer connections are known to be slower.
    is_proven: bool,
    /// More connections are known to be no faster.
    is_enough: bool,
    rest: Duration,
    phase: Phase,
}

enum Phase {
    /// Nothing changes until then.
    Rest(Instant),
    /// The last step is being tested.
    Test(Test),
}

/// A step that is being tested.
#[derive(Clone, Copy)]
struct Test {
    /// Connections before it.
    from: usize,
    /// Bytes per second before it.
    before: u64,
    /// That rate was not rising by itself.
    was_steady: bool,
    begun: Instant,
    /// When all connections were established.
    connected: Option<Instant>,
}

impl Test {
    /// Whether at this rate the others have taken up a part of the removed connection's capacity.
    fn is_taken_up(self, rate: u64) -> bool {
        let left = self.before / (self.from as u64).max(1);
        rate > self.before - left + left / 4
    }
}

impl Policy {
    /// For a transfer that begins with this many connections, and may use `most`.
    pub(super) fn new(streams: usize, most: usize, round_trip: Duration, now: Instant) -> Self {
        let is_long = round_trip >= LONG;
        let streams = if is_long { streams.max(OF_LONG.min(most)) } else { streams };
        let first_look = FIRST_LOOK.max(round_trip * 5);
        Self {
            most,
            streams,
            meter: Meter::default(),
            connect: Duration::ZERO,
            is_proven: false,
            is_enough: false,
            rest: REST,
            phase: Phase::Rest(now + first_look),
        }
    }

    /// Lowers the limit, because the host accepts no more.
    pub(super) fn limit(&mut self, most: usize) {
        self.most = self.most.min(most);
        self.streams = self.streams.min(most);
    }

    /// The number of connections to use from now on.
    pub(super) fn step(&mut self, sample: Sample) -> usize {
        self.meter.add(sample.now, sample.carried);
        match self.phase {
            Phase::Rest(until) if sample.now >= until => self.try_next(sample),
            Phase::Rest(_) => {}
            Phase::Test(test) => self.judge(test, sample),
        }
        self.streams
    }

    /// Begins the next test, if there is one.
    fn try_next(&mut self, sample: Sample) {
        let Sample { now, left, .. } = sample;
        let rate = self.meter.rate(self.glance());
        if u128::from(left) < u128::from(rate) * TOO_LATE.as_millis() / 1000 {
            self.phase = Phase::Rest(now + WINDOW);
            return;
        }
        let was_steady = !self.meter.is_rising(self.window(), WORTH);
        let before = if was_steady { self.meter.rate(self.window()) } else { rate };
        if self.streams < self.most && !self.is_enough {
            self.test((self.streams * 2).min(self.most), before, was_steady, now);
        } else if self.streams > 1 && !self.is_proven {
            self.test(self.streams - 1, before, was_steady, now);
        } else {
            if self.rest == LONGEST_REST {
                self.is_proven = false;
            }
            self.is_enough = false;
            self.phase = Phase::Rest(now + self.rest);
            self.rest = (self.rest * 2).min(LONGEST_REST);
        }
    }

    fn test(&mut self, streams: usize, before: u64, was_steady: bool, begun: Instant) {
        let from = std::mem::replace(&mut self.streams, streams);
        self.phase = Phase::Test(Test { from, before, was_steady, begun, connected: None });
    }

    fn judge(&mut self, mut test: Test, sample: Sample) {
        let now = sample.now;
        let is_more = self.streams > test.from;
        let connected = match test.connected {
            Some(connected) => connected,
            None if sample.connected >= self.streams => {
                if is_more {
                    self.connect = now - test.begun;
                }
                test.connected = Some(now);
                now
            }
            None if now < test.begun + CONNECT => return,
            None => now,
        };
        self.phase = Phase::Test(test);
        let rate = self.meter.rate(self.window());
        if is_more {
            let settled = connected + self.settle(2);
            let is_rising = self.meter.is_rising(self.glance(), WORTH);
            let is_over = now >= settled && !is_rising || now >= settled + LONG_SETTLE;
            if exceeds(self.meter.rate(self.glance()), test.before, PLAIN)
                || is_over && exceeds(rate, test.before, WORTH)
            {
                self.added(test, sample);
            } else if is_over {
                self.is_enough = true;
                self.take_back(test, now);
            }
        } else if now >= test.begun + self.window() && !exceeds(test.before, rate, SAME) {
            self.is_enough = true;
            if self.streams > 1 {
                self.test(self.streams - 1, test.before, true, now);
            } else {
                self.phase = Phase::Rest(now + self.rest);
            }
        } else if now >= test.begun + self.settle(10)
            || now >= test.begun + self.settle(3) && !test.is_taken_up(rate)
        {
            self.is_proven = true;
            self.take_back(test, now);
        }
    }

    /// Keeps connections that were added.
    fn added(&mut self, test: Test, sample: Sample) {
        self.is_proven = test.was_steady;
        self.rest = REST;
        if self.streams == self.most {
            self.phase = Phase::Rest(sample.now + self.rest);
        } else {
            self.try_next(sample);
        }
    }

    /// Returns to the previous number of connections.
    fn take_back(&mut self, test: Test, now: Instant) {
        self.streams = test.from.min(self.most);
        self.phase = Phase::Rest(now + self.settle(2));
    }

    /// The time to settle, as a multiple of the time to connect.
    fn settle(&self, times: u32) -> Duration {
        (times * self.connect).clamp(SETTLE, LONG_SETTLE)
    }

    /// About a round trip.
    fn glance(&self) -> Duration {
        GLANCE.max(self.connect / 3)
    }

    fn window(&self) -> Duration {
        WINDOW.max(self.connect)
    }
}
