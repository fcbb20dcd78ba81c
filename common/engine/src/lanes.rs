//! The further connections of a transfer, called lanes, at one end: their shared state, and which of them have
//! joined.
//!
//! Each connection is served by a separate thread. The lanes are the same for all attempts of a transfer; the
//! shared state belongs to one attempt.

use std::sync::{Arc, Mutex, MutexGuard};

use lariat_base::lock::lock;
use lariat_wire::protocol::transfer::MAX_STREAMS;

use crate::wakeup::{Changes, Wakeup};

/// Identifies a lane for as long as it is in use.
pub(crate) type Ticket = u64;

/// The shared state of an attempt's connections.
pub(crate) trait Work {
    /// Adds a lane.
    fn enter(&mut self, lane: Ticket);
    /// Removes a lane, whose connection has ended or broken.
    fn leave(&mut self, lane: Ticket);
}

/// The lanes of a transfer. Clones are the same lanes.
pub(crate) struct Lanes<W>(Arc<Shared<W>>);

struct Shared<W> {
    state: Mutex<State<W>>,
    /// Announces all changes that a connection may wait for.
    wakeup: Wakeup,
}

struct State<W> {
    phase: Phase<W>,
    /// The number of lanes so far.
    tickets: Ticket,
    /// Lanes of later tickets belong to this attempt.
    since: Ticket,
    /// The lanes by number.
    seats: [Seat; MAX_STREAMS as usize],
}

enum Phase<W> {
    /// It is not known yet what the lanes can carry.
    Waiting,
    Open(Box<W>),
    Over,
}

/// The newest lane of a number.
#[derive(Clone, Copy, Default)]
struct Seat {
    lane: Option<Ticket>,
    /// It ends once everything in transit on it has arrived.
    is_retired: bool,
}

impl<W> Clone for Lanes<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W> Default for Lanes<W> {
    fn default() -> Self {
        let seats = Default::default();
        let state = State { phase: Phase::Waiting, tickets: 0, since: 0, seats };
        Self(Arc::new(Shared { state: Mutex::new(state), wakeup: Wakeup::default() }))
    }
}

impl<W: Work> Lanes<W> {
    /// Waits until lanes can join an attempt. Cancel-safe.
    pub(crate) async fn opened(&self) {
        let mut changes = self.changes();
        while !matches!(self.lock().phase, Phase::Open(_)) {
            changes.next().await;
        }
    }

    /// Waits until it is known what lanes can carry, even if the attempt is over already. Cancel-safe.
    pub(crate) async fn begun(&self) {
        let mut changes = self.changes();
        while matches!(self.lock().phase, Phase::Waiting) {
            changes.next().await;
        }
    }

    /// Allows lanes to join an attempt.
    pub(crate) fn open(&self, work: W) {
        let mut state = self.lock();
        (state.phase, state.since) = (Phase::Open(Box::new(work)), state.tickets);
        drop(state);
        self.announce();
    }

    /// Ends all lanes.
    pub(crate) fn close(&self) {
        self.lock().phase = Phase::Over;
        self.announce();
    }

    /// Ends all lanes as soon as `is_ready` returns a result, which is returned. `None` if they have ended
    /// before.
    pub(crate) async fn finish<T>(
        &self,
        mut is_ready: impl FnMut(&mut W) -> Option<T>,
    ) -> Option<T> {
        let mut changes = self.changes();
        loop {
            let ready = self.with(&mut is_ready)?;
            if ready.is_some() {
                self.close();
                return ready;
            }
            changes.next().await;
        }
    }

    /// Accesses the shared state. `None` if lanes can't join now.
    pub(crate) fn with<T>(&self, using: impl FnOnce(&mut W) -> T) -> Option<T> {
        self.lock().work().map(using)
    }

    /// Announces a change of the shared state.
    pub(crate) fn announce(&self) {
        self.0.wakeup.changed();
    }

    /// Watches for changes from now on.
    pub(crate) fn changes(&self) -> Changes {
        self.0.wakeup.changes()
    }

    /// Asks the lane with this number to end once everything in transit on it has arrived.
    pub(crate) fn retire(&self, number: u8) {
        if let Some(seat) = self.lock().seats.get_mut(usize::from(number)) {
            seat.is_retired = true;
        }
        self.announce();
    }

    /// Adds a lane, in place of an older one of this number. Waits until it is known what lanes can carry, and
    /// returns `None` if the transfer is over. Cancel-safe.
    pub(crate) async fn join(&self, number: u8) -> Option<Joined<W>> {
        self.begun().await;
        let mut state = self.lock();
        state.tickets += 1;
        let ticket = state.tickets;
        let seat = Seat { lane: Some(ticket), is_retired: false };
        let older = std::mem::replace(state.seats.get_mut(usize::from(number))?, seat).lane;
        let work = state.work()?;
        if let Some(older) = older {
            work.leave(older);
        }
        work.enter(ticket);
        drop(state);
        self.announce();
        Some(Joined { lanes: self.clone(), number, ticket })
    }

    fn lock(&self) -> MutexGuard<'_, State<W>> {
        lock(&self.0.state)
    }
}

impl<W> State<W> {
    fn work(&mut self) -> Option<&mut W> {
        match &mut self.phase {
            Phase::Open(work) => Some(work),
            Phase::Waiting | Phase::Over => None,
        }
    }

    /// The shared state for the lane with this ticket, unless its attempt is over.
    fn work_of(&mut self, ticket: Ticket) -> Option<&mut W> {
        if ticket > self.since { self.work() } else { None }
    }
}

/// A lane that has joined an attempt, until it is dropped.
pub(crate) struct Joined<W: Work> {
    lanes: Lanes<W>,
    number: u8,
    ticket: Ticket,
}

impl<W: Work> Joined<W> {
    /// Accesses the shared state, as this lane. `None` if its attempt is over.
    pub(crate) fn with<T>(&self, using: impl FnOnce(&mut W, Ticket) -> T) -> Option<T> {
        self.lanes.lock().work_of(self.ticket).map(|work| using(work, self.ticket))
    }

    /// Announces a change of the shared state.
    pub(crate) fn announce(&self) {
        self.lanes.announce();
    }

    /// Watches for changes from now on.
    pub(crate) fn changes(&self) -> Changes {
        self.lanes.changes()
    }

    /// Asks this lane to end once everything in transit on it has arrived.
    pub(crate) fn retire(&self) {
        if self.seat().lane == Some(self.ticket) {
            self.lanes.retire(self.number);
        }
    }

    /// Whether it was asked to end.
    pub(crate) fn is_retired(&self) -> bool {
        self.seat().is_retired
    }

    /// Waits until it was asked to end. Cancel-safe.
    pub(crate) async fn retired(&self) {
        let mut changes = self.changes();
        while !self.is_retired() {
            changes.next().await;
        }
    }

    /// Waits until its attempt is over or another lane has replaced it. Cancel-safe.
    pub(crate) async fn over(&self) {
        let mut changes = self.changes();
        while self.with(|_, _| ()).is_some() && self.seat().lane == Some(self.ticket) {
            changes.next().await;
        }
    }

    fn seat(&self) -> Seat {
        self.lanes.lock().seats.get(usize::from(self.number)).copied().unwrap_or_default()
    }
}

impl<W: Work> Drop for Joined<W> {
    fn drop(&mut self) {
        self.with(W::leave);
        self.announce();
    }
}
