//! The lanes of a transfer as its receiver sees them: what its connections share, each on a thread of its own.

use std::sync::{Arc, Mutex, MutexGuard};

use lariat_base::lock::lock;
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::transfer::{MAX_STREAMS, Offer, Range};

use crate::chunk::reconcile::indices;
use crate::file::body::Body;
use crate::wakeup::{Changes, Wakeup};

/// The lanes of a transfer that this end receives. Clones are the same lanes; they serve one attempt after
/// another.
#[derive(Clone, Default)]
pub struct ReceiveLanes(Arc<Shared>);

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
    tickets: u64,
    /// The newest lane of each number.
    numbers: [Option<u64>; MAX_STREAMS as usize],
}

#[derive(Default)]
enum Phase {
    /// The file is not open yet.
    #[default]
    Waiting,
    Open(Box<Work>),
    Over,
}

/// A transfer that has lanes.
struct Work {
    /// Lanes of later tickets are this attempt's.
    since: u64,
    body: Arc<Body>,
    /// The destination's path, for failures.
    path: Vec<u8>,
    offer: Offer,
    missing: Vec<Range>,
    /// Every chunk of the file; empty until a lane joins.
    chunks: Vec<LaneChunk>,
    /// Chunks that are being written.
    writing: usize,
    /// Everything has arrived: nothing more is written.
    is_closing: bool,
    progress: LaneProgress,
    /// The failure that a lane has met.
    failure: Option<Failure>,
}

/// A chunk, as far as lanes are concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneChunk {
    /// It can't come on a lane.
    Other,
    /// It may come on any connection.
    Missing,
    /// A lane has brought it.
    Taken,
}

/// What lanes have brought.
#[derive(Clone, Copy, Default)]
pub(super) struct LaneProgress {
    /// Bytes of the file.
    pub(super) moved: u64,
    /// Bytes that they took on the wire.
    pub(super) sent: u64,
}

impl ReceiveLanes {
    /// Waits until lanes can join an attempt. Cancel-safe.
    pub async fn opened(&self) {
        let mut changes = self.changes();
        while !matches!(self.lock().phase, Phase::Open(_)) {
            changes.next().await;
        }
    }

    /// Lets lanes bring these chunks of a file.
    pub(super) fn open(&self, body: Arc<Body>, path: Vec<u8>, offer: Offer, missing: Vec<Range>) {
        let mut state = self.lock();
        state.phase = Phase::Open(Box::new(Work {
            since: state.tickets,
            body,
            path,
            offer,
            missing,
            chunks: Vec::new(),
            writing: 0,
            is_closing: false,
            progress: LaneProgress::default(),
            failure: None,
        }));
        drop(state);
        self.tell();
    }

    /// What lanes have brought since the last call, or the failure that one has met.
    pub(super) fn progress(&self) -> Result<LaneProgress, Failure> {
        let mut state = self.lock();
        let Some(work) = state.work() else { return Ok(LaneProgress::default()) };
        work.failure.clone().map_or_else(|| Ok(std::mem::take(&mut work.progress)), Err)
    }

    /// Whether a lane has brought this chunk.
    pub(super) fn has(&self, index: usize) -> bool {
        let is_taken = |work: &mut Work| work.chunks.get(index) == Some(&LaneChunk::Taken);
        self.lock().work().is_some_and(is_taken)
    }

    /// Ends all lanes once nothing is being written any more, and returns what they have brought.
    /// The rest of what [`Self::progress`] tells comes with it.
    pub(super) async fn finish(&self) -> (Vec<LaneChunk>, Result<LaneProgress, Failure>) {
        let mut changes = self.changes();
        let brought = loop {
            {
                let mut state = self.lock();
                let Some(work) = state.work() else {
                    return (Vec::new(), Ok(LaneProgress::default()));
                };
                if work.writing == 0 {
                    let chunks = std::mem::take(&mut work.chunks);
                    let rest = work.failure.take().map_or_else(|| Ok(work.progress), Err);
                    state.phase = Phase::Over;
                    break (chunks, rest);
                }
                work.is_closing = true;
            }
            changes.next().await;
        };
        self.tell();
        brought
    }

    /// Ends all lanes. A chunk that is being written may still be written.
    pub fn close(&self) {
        self.lock().phase = Phase::Over;
        self.tell();
    }

    /// Adds a lane, in place of an older one of this number. Waits until the file is open, and returns `None` if the
    /// transfer is over. Cancel-safe.
    pub(super) async fn join(&self, number: u8) -> Option<Joined> {
        let mut changes = self.changes();
        while matches!(self.lock().phase, Phase::Waiting) {
            changes.next().await;
        }
        let mut state = self.lock();
        state.tickets += 1;
        let ticket = state.tickets;
        let place = usize::from(number);
        *state.numbers.get_mut(place)? = Some(ticket);
        let work = state.work()?;
        if work.chunks.is_empty() {
            let count = usize::try_from(work.offer.chunks()).ok()?;
            work.chunks = vec![LaneChunk::Other; count];
            for index in indices(&work.missing) {
                *work.chunks.get_mut(usize::try_from(index).ok()?)? = LaneChunk::Missing;
            }
        }
        let (offer, path) = (work.offer.clone(), work.path.clone());
        drop(state);
        self.tell();
        Some(Joined { lanes: self.clone(), place, ticket, offer, path })
    }

    /// Notices every change from now on.
    pub(super) fn changes(&self) -> Changes {
        self.0.wakeup.changes()
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

    /// The work of the lane with this ticket, unless its attempt is over.
    fn work_of(&mut self, ticket: u64) -> Option<&mut Work> {
        self.work().filter(|work| ticket > work.since)
    }
}

/// A lane of a transfer.
pub(super) struct Joined {
    lanes: ReceiveLanes,
    place: usize,
    ticket: u64,
    /// The file.
    pub(super) offer: Offer,
    /// The destination's path.
    pub(super) path: Vec<u8>,
}

impl Joined {
    /// Whether this chunk may come on a lane.
    pub(super) fn may_come(&self, index: usize) -> bool {
        let may_come = |work: &mut Work| {
            work.chunks.get(index).is_some_and(|&chunk| chunk != LaneChunk::Other)
        };
        // What comes when the transfer is over is dropped.
        self.lanes.lock().work_of(self.ticket).is_none_or(may_come)
    }

    /// Writes a verified chunk that took `body` bytes on the wire, unless another lane has brought it. A failure is
    /// one of the whole transfer.
    pub(super) fn write(&self, index: usize, bytes: &[u8], body: u64) -> Result<(), Failure> {
        let file = {
            let mut state = self.lanes.lock();
            let work = state.work_of(self.ticket).filter(|work| !work.is_closing);
            let Some(work) = work else { return Ok(()) };
            if work.chunks.get(index) == Some(&LaneChunk::Taken) {
                return Ok(());
            }
            work.writing += 1;
            Arc::clone(&work.body)
        };
        // Not under the lock: other connections write at the same time.
        let written = file.write(index as u64, bytes, true, self.offer.sparse);
        drop(file);
        if let Some(work) = self.lanes.lock().work_of(self.ticket) {
            work.writing -= 1;
            match (&written, work.chunks.get_mut(index)) {
                (Ok(()), Some(chunk)) if *chunk != LaneChunk::Taken => {
                    *chunk = LaneChunk::Taken;
                    work.progress.moved += bytes.len() as u64;
                    work.progress.sent += body;
                }
                (Ok(()), _) => {}
                (Err(failure), _) => _ = work.failure.get_or_insert_with(|| failure.clone()),
            }
        }
        self.lanes.tell();
        written
    }

    /// Ends the whole transfer with a failure of this end.
    pub(super) fn fail(&self, failure: Failure) {
        if let Some(work) = self.lanes.lock().work_of(self.ticket) {
            work.failure.get_or_insert(failure);
        }
        self.lanes.tell();
    }

    /// Waits until the lane is of no use any more. Cancel-safe.
    pub(super) async fn over(&self) {
        let is_over = || {
            let mut state = self.lanes.lock();
            let newest = state.numbers.get(self.place).copied().flatten();
            state.work_of(self.ticket).is_none() || newest != Some(self.ticket)
        };
        let mut changes = self.lanes.changes();
        while !is_over() {
            changes.next().await;
        }
    }
}
