//! How a file is sent: what its receiver asked for, and over which connections.

use lariat_wire::protocol::transfer::Sending;

use super::lanes::SendLanes;

/// How a file is sent.
#[derive(Clone, Default)]
pub struct SendOptions {
    pub(super) sending: Sending,
    pub(super) lanes: Option<SendLanes>,
}

impl From<Sending> for SendOptions {
    fn from(sending: Sending) -> Self {
        Self { sending, lanes: None }
    }
}

impl SendOptions {
    /// Lets these lanes carry a part of the file.
    #[must_use]
    pub fn on_lanes(self, lanes: SendLanes) -> Self {
        Self { lanes: Some(lanes), ..self }
    }
}

/// Ends the lanes when the transfer ends, however it does.
pub(super) struct Ending(pub(super) Option<SendLanes>);

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(lanes) = &self.0 {
            lanes.close();
        }
    }
}
