//! How far an unauthenticated peer has come, and how its task says so.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Slot;

/// Where the unauthenticated peers' tasks say it.
pub type Tell = UnboundedSender<(Slot, Stage)>;

/// Where the loop that accepts hears it.
pub type Hear = UnboundedReceiver<(Slot, Stage)>;

/// How far an unauthenticated peer has come. Later ones are larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It has sent nothing, or not yet a whole ClientHello.
    Silent,
    /// It has been answered; its login is awaited.
    Greeted,
    /// Its login has arrived.
    Decided,
}

/// Tells the loop that accepts how far one unauthenticated peer has come. Nobody need listen.
#[derive(Clone)]
pub struct Progress {
    place: Slot,
    sender: Tell,
}

impl Progress {
    /// For the unauthenticated peer that has this place.
    pub fn new(place: Slot, sender: &Tell) -> Self {
        Self { place, sender: sender.clone() }
    }

    /// It has come this far. To be said once for each stage.
    pub fn reached(&self, stage: Stage) {
        let _ = self.sender.send((self.place, stage));
    }
}

/// Both ends. Each unauthenticated peer says at most two things, and whoever admits unauthenticated peers listens first: so
/// what waits here is bounded by their number.
pub fn progress() -> (Tell, Hear) {
    unbounded_channel()
}
