//! The stages of an unauthenticated peer, and the channel on which its task reports them.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Slot;

/// The peers' tasks report stages here.
pub type Tell = UnboundedSender<(Slot, Stage)>;

/// The main loop receives stages here.
pub type Hear = UnboundedReceiver<(Slot, Stage)>;

/// How far an unauthenticated peer has come. Later stages compare greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The peer has sent nothing, or not yet a whole ClientHello.
    Silent,
    /// The peer has been answered; its login is awaited.
    Greeted,
    /// The peer's login has arrived.
    Decided,
}

/// Reports one peer's stages to the main loop, if that still listens.
#[derive(Clone)]
pub struct Progress {
    place: Slot,
    sender: Tell,
}

impl Progress {
    /// Reports for the peer that holds this slot.
    pub fn new(place: Slot, sender: &Tell) -> Self {
        Self { place, sender: sender.clone() }
    }

    /// Reports a stage. To be called once for each stage.
    pub fn reached(&self, stage: Stage) {
        let _ = self.sender.send((self.place, stage));
    }
}

/// Both ends of the channel. A peer reports at most two stages, and the main loop reads all of them before it
/// admits another peer, so the number of waiting reports is bounded by the number of peers.
pub fn progress() -> (Tell, Hear) {
    unbounded_channel()
}
