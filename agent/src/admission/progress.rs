//! How far a stranger has come, and how its task says so.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Slot;

/// Where the strangers' tasks say it.
pub type Tell = UnboundedSender<(Slot, Stage)>;

/// Where the loop that accepts hears it.
pub type Hear = UnboundedReceiver<(Slot, Stage)>;

/// How far a stranger has come. Later ones are larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It has sent nothing, or not yet a whole ClientHello.
    Silent,
    /// It has been answered; its login is awaited.
    Greeted,
    /// Its login has arrived.
    Decided,
}

/// Tells the loop that accepts how far one stranger has come. Nobody need listen.
#[derive(Clone)]
pub struct Progress {
    place: Slot,
    sender: Tell,
}

impl Progress {
    /// For the stranger that has this place.
    pub fn new(place: Slot, sender: &Tell) -> Self {
        Self { place, sender: sender.clone() }
    }

    /// It has come this far. To be said once for each stage.
    pub fn reached(&self, stage: Stage) {
        let _ = self.sender.send((self.place, stage));
    }
}

/// Both ends. Each stranger says at most two things, and whoever admits strangers listens first: so
/// what waits here is bounded by their number.
pub fn progress() -> (Tell, Hear) {
    unbounded_channel()
}
