//! The lanes of a transfer as its sender sees them: what its connections share, each on a thread of its own.

use std::sync::{Arc, Mutex, MutexGuard};

use lariat_base::lock::lock;
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::transfer::{MAX_STREAMS, Range, Sending};

use super::pace::Pace;
use super::queue::{Next, NotSent, Queue, SentChunk, Ticket};
use crate::source::Source;
use crate::wakeup::{Changes, Wakeup};

/// The lanes of a transfer that this end sends. Clones are the same lanes; they serve one attempt after another.
#[derive(Clone, Default)]
pub struct SendLanes(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Announces anything that a connection may wait for.
    wakeup: Wakeup,
}

#[derive(Default)]
struct State {
    phase: Phase,
    /// The number of lanes so far.
    tickets: Ticket,
    /// The newest lane of each number.
    numbers: [Option<Ticket>; MAX_STREAMS as usize],
}

#[derive(Default)]
enum Phase {
    /// It is not known yet what the receiver has.
    #[default]
    Waiting,
    Open(Box<Work>),
    Over,
}

/// A transfer that has lanes.
struct Work {
    queue: Queue,
    /// For lanes, each of which reads by a copy of its own.
    source: Source,
    sending: Sending,
    pace: Pace,
    /// The failure that a lane has met.
    failure: Option<Failure>,
}

impl SendLanes {
    /// Waits until lanes can join an attempt. Cancel-safe.
    pub async fn opened(&self) {
        let mut changes = self.changes();
        while !matches!(self.lock().phase, Phase::Open(_)) {
            changes.next().await;
        }
    }

    /// Lets lanes join the transfer of these chunks.
    pub(super) fn open(&self, missing: Vec<Range>, source: Source, how: Sending, pace: Pace) {
        let (queue, failure) = (Queue::new(missing), None);
        let work = Work { queue, source, sending: how, pace, failure };
        self.lock().phase = Phase::Open(Box::new(work));
        self.tell();
    }

    /// Ends all lanes.
    pub fn close(&self) {
        self.lock().phase = Phase::Over;
        self.tell();
    }

    /// The next chunk for the first connection.
    pub(super) fn next(&self) -> Option<Next> {
        self.lock().work()?.queue.next()
    }

    /// What the lanes have sent since the last call, or the failure that one has met.
    pub(super) fn progress(&self) -> Result<Vec<SentChunk>, Failure> {
        let mut state = self.lock();
        let Some(work) = state.work() else { return Ok(Vec::new()) };
        work.failure.clone().map_or_else(|| Ok(work.queue.acknowledged()), Err)
    }

    /// Whether the receiver has everything.
    pub(super) fn is_settled(&self) -> bool {
        self.lock().work().is_none_or(|work| work.queue.is_settled())
    }

    /// Notices every change from now on.
    pub(super) fn changes(&self) -> Changes {
        self.0.wakeup.changes()
    }

    /// Adds a lane, in place of an older one of this number. Waits until it is known what the receiver has, and
    /// returns `None` if the transfer is over. Cancel-safe.
    pub(super) async fn join(&self, number: u8) -> Option<(Joined, Share)> {
        let mut changes = self.changes();
        while matches!(self.lock().phase, Phase::Waiting) {
            changes.next().await;
        }
        let mut state = self.lock();
        state.tickets += 1;
        let ticket = state.tickets;
        let older = state.numbers.get_mut(usize::from(number))?.replace(ticket);
        let work = state.work()?;
        if let Some(older) = older {
            work.queue.leave(older);
        }
        work.queue.enter(ticket);
        let (source, sending, pace) = (work.source.another(), work.sending, work.pace.clone());
        drop(state);
        self.tell();
        Some((Joined { lanes: self.clone(), ticket }, Share { source, sending, pace }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }

    fn tell(&self) {
        self.0.wakeup.changed();
    }
}

impl State {
    fn work(&mut self) -> Option<&mut Work> {
        match &mut self.phase {
            Phase::Open(work) => Some(work),
            Phase::Waiting | Phase::Over => None,
        }
    }
}

/// What a lane sends, and how.
pub(super) struct Share {
    pub(super) source: Source,
    pub(super) sending: Sending,
    pub(super) pace: Pace,
}

/// A lane of a transfer. Dropping it gives back what the receiver has not acknowledged.
pub(super) struct Joined {
    lanes: SendLanes,
    ticket: Ticket,
}

impl Joined {
    /// The next chunk to send. `None` when there is none for now.
    pub(super) fn next(&self) -> Option<Next> {
        self.lanes.lock().work()?.queue.next_on(self.ticket)
    }

    /// Records how the chunk that was taken last is sent.
    pub(super) fn sent(&self, sent: SentChunk) {
        if let Some(work) = self.lanes.lock().work() {
            work.queue.sent(self.ticket, sent);
        }
    }

    /// Ends the whole transfer with a failure of this end.
    pub(super) fn fail(&self, failure: Failure) {
        let mut state = self.lanes.lock();
        if let Some(work) = state.work().filter(|work| work.queue.has(self.ticket)) {
            work.failure.get_or_insert(failure);
        }
        drop(state);
        self.lanes.tell();
    }

    /// Notices every change from now on.
    pub(super) fn changes(&self) -> Changes {
        self.lanes.changes()
    }

    /// Records that the receiver has this many more of the lane's chunks.
    pub(super) fn acknowledge(&self, chunks: u64) -> Result<(), NotSent> {
        if let Some(work) = self.lanes.lock().work() {
            work.queue.acknowledge(self.ticket, chunks)?;
        }
        self.lanes.tell();
        Ok(())
    }

    /// Waits until the lane is of no use any more. Cancel-safe.
    pub(super) async fn over(&self) {
        let mut changes = self.changes();
        while self.lanes.lock().work().is_some_and(|work| work.queue.has(self.ticket)) {
            changes.next().await;
        }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        if let Some(work) = self.lanes.lock().work() {
            work.queue.leave(self.ticket);
        }
        self.lanes.tell();
    }
}
