//! Tests the policy on modelled links: slow start, a rate that all connections share, and a limit for each of
//! them.

use std::time::{Duration, Instant};

use super::{Policy, Sample};

/// Time between two steps of the model.
const TICK: Duration = Duration::from_millis(10);

/// Ticks between two steps of the policy.
const LOOK: usize = 5;

/// A connection's initial window, in bytes.
const FIRST_WINDOW: f64 = 14_600.0;

#[derive(Clone, Copy)]
struct Link {
    round_trip: Duration,
    /// Bytes per second of all connections together.
    rate: f64,
    /// Bytes per second of one connection, because of loss or of its buffers.
    each: f64,
    /// How much rates vary by themselves.
    noise: f64,
}

/// A connection that is established in three round trips, doubles its window in each one, and takes up free
/// capacity more slowly once it has met the link's limit.
#[derive(Clone, Copy)]
struct Connection {
    connects: f64,
    window: f64,
    is_slow_start: bool,
}

/// The results of a modelled transfer.
#[derive(Debug)]
struct Run {
    /// The number of connections at each step.
    streams: Vec<usize>,
    seconds: f64,
}

impl Run {
    /// The number of connections after this many seconds.
    fn at(&self, seconds: f64) -> usize {
        self.streams[(seconds / (TICK.as_secs_f64() * LOOK as f64)) as usize]
    }

    /// The mean number of connections after that.
    fn mean_from(&self, seconds: f64) -> f64 {
        let from = (seconds / (TICK.as_secs_f64() * LOOK as f64)) as usize;
        let rest = &self.streams[from..];
        rest.iter().sum::<usize>() as f64 / rest.len() as f64
    }
}

impl Link {
    /// Transfers this many MiB over at most `most` connections, or over `most` from the beginning.
    fn run(self, mebibytes: u64, most: usize, is_fixed: bool) -> Run {
        let (begin, size) = (Instant::now(), (mebibytes << 20) as f64);
        let (tick, trip) = (TICK.as_secs_f64(), self.round_trip.as_secs_f64());
        let mut policy = Policy::new(1, most, self.round_trip, begin);
        let new = |connects| Connection { connects, window: FIRST_WINDOW, is_slow_start: true };
        let mut connections = vec![new(0.0)];
        let (mut moved, mut streams, mut random) = (0.0, Vec::new(), 1_u64);
        for ticks in 1.. {
            let now = f64::from(ticks) * tick;
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let noise = 1.0 + self.noise * ((random >> 40) as f64 / f64::from(1 << 23) - 1.0);
            let is_up = |connection: &&mut Connection| connection.connects <= now;
            let wanted: f64 = connections.iter_mut().filter(is_up).map(|c| c.window / trip).sum();
            let share = (self.rate / wanted).min(1.0);
            for connection in connections.iter_mut().filter(is_up) {
                moved += connection.window / trip * share * tick * noise;
                let most = self.each * trip;
                if share < 1.0 {
                    // Bytes beyond the link's rate wait in its queue, or are lost.
                    connection.window *= share.max(0.9);
                    connection.is_slow_start = false;
                }
                let growth: f64 = if connection.is_slow_start { 2.0 } else { 1.03 };
                connection.window = (connection.window * growth.powf(tick / trip)).min(most);
            }
            if moved >= size {
                return Run { streams, seconds: now };
            }
            if !(ticks as usize).is_multiple_of(LOOK) {
                continue;
            }
            let connected = connections.iter().filter(|c| c.connects <= now).count();
            let (carried, left) = (moved as u64, (size - moved) as u64);
            let sample = Sample { now: begin + TICK * ticks, carried, left, connected };
            let wanted = if is_fixed { most } else { policy.step(sample) };
            connections.resize(wanted, new(now + 3.0 * trip));
            streams.push(wanted);
        }
        unreachable!("a transfer ends")
    }

    fn auto(self, mebibytes: u64) -> Run {
        self.run(mebibytes, 8, false)
    }
}

/// A link of this many megabits per second, on which one connection reaches `each`.
fn link(round_trip_ms: u64, rate: f64, each: f64) -> Link {
    let bytes = |megabits| megabits * 1e6 / 8.0;
    let round_trip = Duration::from_millis(round_trip_ms);
    Link { round_trip, rate: bytes(rate), each: bytes(each), noise: 0.1 }
}

#[test]
fn a_long_lossy_link_has_all_connections_in_a_second() {
    let lossy = link(100, 1000.0, 150.0);
    let auto = lossy.auto(256);
    assert!(auto.at(1.5) == 8 && auto.streams.is_sorted(), "{auto:?}");
    let (one, eight) = (lossy.run(256, 1, true).seconds, lossy.run(256, 8, true).seconds);
    assert!(auto.seconds < one / 2.5 && auto.seconds < eight * 1.25, "{one} {eight} {auto:?}");
    // Half as many are tested, and are too few.
    let long = lossy.auto(8192);
    assert!(long.mean_from(10.0) > 7.0, "{long:?}");
}

#[test]
fn on_a_link_that_one_connection_fills_there_is_soon_one() {
    for (trip, rate) in
        [(1, 1000.0), (1, 10_000.0), (10, 1000.0), (30, 5.0), (100, 100.0), (30, 50.0)]
    {
        let full = link(trip, rate, 1e9);
        let auto = full.auto((rate * 8.0) as u64);
        // Free capacity is taken up in many round trips.
        let soon = 2.5 + 0.12 * trip as f64;
        // Afterwards two are tried now and then.
        assert!(
            auto.at(soon) == 1 || auto.at(soon + 0.5) == 1,
            "{trip} ms, {rate} Mbit/s: {auto:?}"
        );
        assert!(auto.mean_from(soon) < 1.5, "{trip} ms, {rate} Mbit/s: {auto:?}");
        let one = full.run((rate * 8.0) as u64, 1, true).seconds;
        assert!(auto.seconds < one * 1.05, "{one}: {auto:?}");
    }
}

#[test]
fn there_are_as_many_as_are_of_use() {
    for (trip, each, useful) in
        [(20, 300.0, 4), (20, 600.0, 2), (100, 300.0, 4), (100, 600.0, 2), (5, 120.0, 8)]
    {
        let auto = link(trip, 1000.0, each).auto(8192);
        let mean = auto.mean_from(10.0);
        let useful = f64::from(useful);
        assert!(mean > 0.85 * useful && mean < 1.6 * useful, "{trip} {each}: {mean} {auto:?}");
    }
}

#[test]
fn a_short_transfer_has_one() {
    // It ends before more connections would gain anything.
    let auto = link(1, 1000.0, 1e9).auto(64);
    assert!(auto.streams.iter().all(|&streams| streams == 1), "{auto:?}");
}

#[test]
fn no_more_than_the_most() {
    let lossy = link(100, 1000.0, 100.0);
    for most in [1, 2, 3, 5] {
        let auto = lossy.run(512, most, false);
        assert!(auto.streams.iter().all(|&streams| streams <= most), "{auto:?}");
        assert!(auto.mean_from(4.0) > 0.9 * most as f64, "{auto:?}");
    }
}
