//! What one direction of a link does to packets. No clock, no device.
//!
//! A packet waits until those before it have been sent, takes its time at the link's rate, may be lost on the way, and
//! arrives after the delay. A packet that finds the queue full is dropped, and those behind it notice nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::rng::Rng;

/// What a link is like.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// From one end to the other.
    pub delay: Duration,
    /// Packets of a million that are lost, at random.
    pub loss: u32,
    /// Bits a second, in each direction.
    pub rate: u64,
    /// Bytes that may wait to be sent, in each direction.
    pub queue: u64,
}

impl Conditions {
    /// A link with this delay, loss and rate, whose queue holds what is under way in one round trip, or 5 ms if that is
    /// more.
    pub fn new(delay: Duration, loss: u32, rate: u64) -> Self {
        let held = (delay * 2).max(Duration::from_millis(5));
        let queue = u64::try_from(held.as_micros()).unwrap_or(u64::MAX).saturating_mul(rate);
        Self { delay, loss, rate, queue: queue / 8_000_000 }
    }

    /// How long the link takes to send this many bytes.
    fn time(&self, bytes: usize) -> Duration {
        let nanos = bytes as u128 * 8_000_000_000 / u128::from(self.rate.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// One direction of a link, with what is under way in it.
pub struct Queue {
    conditions: Conditions,
    rng: Rng,
    /// When all that the link has taken is sent.
    sent: Option<Instant>,
    /// In the order of their arrival, which is the time beside them.
    under_way: VecDeque<(Instant, Vec<u8>)>,
}

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives at this time.
    Arrives(Instant),
    /// It is lost on the way.
    Lost,
    /// The queue has no room for it.
    Dropped,
}

impl Queue {
    /// An empty link, which chooses what it loses by this seed.
    pub fn new(conditions: Conditions, seed: u64) -> Self {
        let rng = Rng::from_seed(seed);
        Self { conditions, rng, sent: None, under_way: VecDeque::new() }
    }

    /// Sends a packet of this length. One that arrives is to be held until then.
    pub fn send(&mut self, now: Instant, bytes: usize) -> Fate {
        let begins = self.sent.map_or(now, |sent| sent.max(now));
        let bits = (begins - now).as_nanos() * u128::from(self.conditions.rate) / 1_000_000_000;
        if bits / 8 + bytes as u128 > u128::from(self.conditions.queue) {
            return Fate::Dropped;
        }
        let sent = begins + self.conditions.time(bytes);
        self.sent = Some(sent);
        if self.rng.below(1_000_000) < u64::from(self.conditions.loss) {
            return Fate::Lost;
        }
        Fate::Arrives(sent + self.conditions.delay)
    }

    /// Holds what arrives at this time. Nothing that was sent earlier may be held later.
    pub fn hold(&mut self, arrives: Instant, frame: Vec<u8>) {
        self.under_way.push_back((arrives, frame));
    }

    /// Takes out what arrives next, if it has arrived.
    pub fn pop(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.next()? > now {
            return None;
        }
        self.under_way.pop_front().map(|(_, frame)| frame)
    }

    /// When that arrives, if anything is under way.
    pub fn next(&self) -> Option<Instant> {
        self.under_way.front().map(|(arrives, _)| *arrives)
    }
}
