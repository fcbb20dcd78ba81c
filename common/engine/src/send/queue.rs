//! Which connection of a transfer sends which chunk. No I/O and no clock.
//!
//! Every connection takes the next chunk when it is ready for one. What the first connection takes has arrived, or
//! the transfer is over: both end with it. What a lane takes counts once the receiver has acknowledged it; a lane
//! that is lost gives the rest back.

use std::collections::{HashMap, VecDeque};

use lariat_wire::protocol::transfer::{Range, Sum};

use crate::lanes::Ticket;

/// A chunk that a connection is to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) index: u64,
    /// Its sum when a lost lane sent it. The receiver may have written those bytes.
    pub(super) before: Option<Sum>,
}

/// A chunk as a lane has sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SentChunk {
    pub(super) index: u64,
    pub(super) sum: Sum,
    /// Its length in bytes.
    pub(super) len: u64,
    /// Bytes that it took on the wire.
    pub(super) body: u64,
}

/// The receiver has acknowledged chunks that were not sent to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotSent;

/// A chunk that a lane has taken.
struct InFlight {
    next: Next,
    /// Once it was read.
    sent: Option<SentChunk>,
}

/// The chunks that are left to be sent.
pub(super) struct Queue {
    unsent: VecDeque<Range>,
    /// Given back by lost lanes.
    returned: VecDeque<Next>,
    /// What each lane has taken and the receiver has not acknowledged, in the order of sending.
    lanes: HashMap<Ticket, VecDeque<InFlight>>,
    /// Acknowledged chunks since the last [`Queue::progress`].
    taken: Vec<SentChunk>,
    /// Bytes that lanes have begun to send since then.
    sent: u64,
    /// Chunks among them that lost lanes had sent before.
    again: u64,
}

/// What lanes have sent.
#[derive(Debug, Default)]
pub(super) struct LaneProgress {
    /// Bytes on the wire.
    pub(super) sent: u64,
    /// Chunks that lost lanes had sent before.
    pub(super) again: u64,
    /// Chunks that the receiver has acknowledged.
    pub(super) taken: Vec<SentChunk>,
}

impl Queue {
    /// All chunks of these ranges.
    pub(super) fn new(missing: Vec<Range>) -> Self {
        let (returned, lanes, taken) = (VecDeque::new(), HashMap::new(), Vec::new());
        Self { unsent: missing.into(), returned, lanes, taken, sent: 0, again: 0 }
    }

    /// Adds a lane.
    pub(super) fn enter(&mut self, lane: Ticket) {
        self.lanes.insert(lane, VecDeque::new());
    }

    /// Removes a lane. What the receiver has not acknowledged is sent again.
    pub(super) fn leave(&mut self, lane: Ticket) {
        let in_flight = self.lanes.remove(&lane).unwrap_or_default();
        self.returned.extend(in_flight.into_iter().map(|InFlight { next, sent }| Next {
            before: sent.map(|sent| sent.sum).or(next.before),
            ..next
        }));
    }

    /// Whether all that this lane has taken was acknowledged.
    pub(super) fn is_idle(&self, lane: Ticket) -> bool {
        self.lanes.get(&lane).is_none_or(VecDeque::is_empty)
    }

    /// Whether this lane is in use.
    fn has(&self, lane: Ticket) -> bool {
        self.lanes.contains_key(&lane)
    }

    /// The next chunk for the first connection.
    pub(super) fn next(&mut self) -> Option<Next> {
        if let Some(next) = self.returned.pop_front() {
            return Some(next);
        }
        let range = self.unsent.front_mut()?;
        let index = range.first;
        (range.first, range.count) = (index + 1, range.count - 1);
        if range.count == 0 {
            self.unsent.pop_front();
        }
        Some(Next { index, before: None })
    }

    /// The next chunk for a lane.
    pub(super) fn next_on(&mut self, lane: Ticket) -> Option<Next> {
        if !self.has(lane) {
            return None;
        }
        let next = self.next()?;
        self.lanes.entry(lane).or_default().push_back(InFlight { next, sent: None });
        Some(next)
    }

    /// Records how the chunk that a lane took last is sent.
    pub(super) fn sent(&mut self, lane: Ticket, sent: SentChunk) {
        if let Some(last) = self.lanes.get_mut(&lane).and_then(VecDeque::back_mut) {
            last.sent = Some(sent);
            self.sent += sent.body;
            self.again += u64::from(last.next.before.is_some());
        }
    }

    /// Records that the receiver has this many more chunks of a lane.
    pub(super) fn acknowledge(&mut self, lane: Ticket, chunks: u64) -> Result<(), NotSent> {
        // One that was replaced has given its chunks back.
        let Some(in_flight) = self.lanes.get_mut(&lane) else { return Ok(()) };
        for _ in 0..chunks {
            let sent = in_flight.front().and_then(|front| front.sent).ok_or(NotSent)?;
            in_flight.pop_front();
            self.taken.push(sent);
        }
        Ok(())
    }

    /// What lanes have sent since the last call.
    pub(super) fn progress(&mut self) -> LaneProgress {
        LaneProgress {
            sent: std::mem::take(&mut self.sent),
            again: std::mem::take(&mut self.again),
            taken: std::mem::take(&mut self.taken),
        }
    }

    /// Whether the receiver has everything that was taken, and nothing is left.
    pub(super) fn is_settled(&self) -> bool {
        let is_idle = self.lanes.values().all(VecDeque::is_empty);
        self.unsent.is_empty() && self.returned.is_empty() && is_idle
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn sent(next: Next) -> SentChunk {
        SentChunk { index: next.index, sum: [7; 16], len: 1, body: 1 }
    }

    fn queue(count: u64) -> Queue {
        Queue::new(if count == 0 { vec![] } else { vec![Range { first: 0, count }] })
    }

    #[test]
    fn a_lost_lane_gives_back_what_was_not_acknowledged_with_its_sum() {
        let mut queue = queue(4);
        queue.enter(1);
        for _ in 0..3 {
            let next = queue.next_on(1).unwrap();
            queue.sent(1, sent(next));
        }
        assert_eq!(queue.acknowledge(1, 1), Ok(()));
        assert_eq!(queue.next_on(1).unwrap().index, 3);
        assert_eq!((queue.next_on(1), queue.is_settled()), (None, false));
        queue.leave(1);
        let rest: Vec<Next> = std::iter::from_fn(|| queue.next()).collect();
        let known = |index| Next { index, before: Some([7; 16]) };
        assert_eq!(rest, [known(1), known(2), Next { index: 3, before: None }]);
        let LaneProgress { sent, again, taken } = queue.progress();
        assert_eq!((sent, again, taken.len()), (3, 0, 1));
        assert!(queue.is_settled());
    }

    #[test]
    fn what_a_lane_sends_for_a_lost_one_is_counted() {
        let mut queue = queue(3);
        queue.enter(1);
        let next = queue.next_on(1).unwrap();
        queue.sent(1, sent(next));
        // This one was taken and not sent.
        queue.next_on(1).unwrap();
        queue.leave(1);
        queue.enter(2);
        for again in [1, 0, 0] {
            let next = queue.next_on(2).unwrap();
            queue.sent(2, sent(next));
            assert_eq!(queue.progress().again, again, "{next:?}");
        }
    }

    #[test]
    fn unsent_chunks_can_not_be_acknowledged() {
        let mut queue = queue(2);
        queue.enter(1);
        assert_eq!(queue.acknowledge(1, 1), Err(NotSent));
        let next = queue.next_on(1).unwrap();
        assert_eq!(queue.acknowledge(1, 1), Err(NotSent), "it was not read yet");
        queue.sent(1, sent(next));
        assert_eq!(queue.acknowledge(1, u64::MAX), Err(NotSent));
        queue.leave(1);
        // A message of a lane that was replaced says nothing.
        assert_eq!(queue.acknowledge(1, 5), Ok(()));
        queue.sent(1, sent(next));
        assert_eq!(queue.next_on(1), None);
    }

    /// One step of any connection.
    #[derive(Clone, Debug)]
    enum Step {
        First,
        Take(u64),
        Read(u64),
        Acknowledge(u64, u64),
        Lose(u64),
        Enter(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => Just(Step::First),
            6 => (0_u64..4).prop_map(Step::Take),
            6 => (0_u64..4).prop_map(Step::Read),
            4 => (0_u64..4, 0_u64..4).prop_map(|(lane, chunks)| Step::Acknowledge(lane, chunks)),
            1 => (0_u64..4).prop_map(Step::Lose),
            2 => (0_u64..4).prop_map(Step::Enter),
        ]
    }

    proptest! {
        #[test]
        fn every_chunk_arrives_in_any_sequence_of_events(
            count in 0_u64..40,
            steps in prop::collection::vec(step(), 0..200),
        ) {
            let mut queue = queue(count);
            let mut arrived = HashSet::new();
            let mut reading: HashMap<u64, Next> = HashMap::new();
            for step in steps {
                match step {
                    Step::First => arrived.extend(queue.next().map(|next| next.index)),
                    Step::Take(lane) if reading.contains_key(&lane) => {}
                    Step::Take(lane) => {
                        if let Some(next) = queue.next_on(lane) {
                            prop_assert!(!arrived.contains(&next.index) || next.before.is_some());
                            reading.insert(lane, next);
                        }
                    }
                    Step::Read(lane) => {
                        if let Some(next) = reading.remove(&lane) {
                            queue.sent(lane, sent(next));
                        }
                    }
                    // A receiver that lies breaks only its own connection.
                    Step::Acknowledge(lane, chunks) => {
                        if queue.acknowledge(lane, chunks).is_err() {
                            reading.remove(&lane);
                            queue.leave(lane);
                        }
                    }
                    Step::Lose(lane) => {
                        reading.remove(&lane);
                        queue.leave(lane);
                    }
                    Step::Enter(lane) if queue.has(lane) => {}
                    Step::Enter(lane) => queue.enter(lane),
                }
                arrived.extend(queue.progress().taken.into_iter().map(|chunk| chunk.index));
                prop_assert!(!queue.is_settled() || arrived.len() as u64 == count);
            }
            // The lanes break, and the first connection does the rest alone.
            (0..4).for_each(|lane| queue.leave(lane));
            arrived.extend(std::iter::from_fn(|| queue.next()).map(|next| next.index));
            prop_assert!(queue.is_settled());
            prop_assert_eq!(arrived, (0..count).collect::<HashSet<_>>());
        }
    }
}
