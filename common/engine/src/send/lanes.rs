//! The shared state of the connections of a file's sender.

use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::transfer::{Range, Sending};

use super::pace::Pace;
use super::queue::{LaneProgress, Next, Queue};
use crate::lanes::{Lanes, Ticket, Work};
use crate::source::Source;

/// A file that is sent over several connections.
pub(crate) struct SendFile {
    pub(super) queue: Queue,
    /// For lanes, each of which reads through its own copy.
    pub(super) source: Source,
    pub(super) sending: Sending,
    pub(super) pace: Pace,
    /// The failure of a lane.
    pub(super) failure: Option<Failure>,
}

impl Work for SendFile {
    fn enter(&mut self, lane: Ticket) {
        self.queue.enter(lane);
    }

    fn leave(&mut self, lane: Ticket) {
        self.queue.leave(lane);
    }
}

impl SendFile {
    /// These chunks of a file.
    pub(super) fn new(missing: Vec<Range>, source: Source, sending: Sending, pace: Pace) -> Self {
        Self { queue: Queue::new(missing), source, sending, pace, failure: None }
    }
}

impl Lanes<SendFile> {
    /// The next chunk for the first connection.
    pub(super) fn next(&self) -> Option<Next> {
        self.with(|file| file.queue.next())?
    }

    /// What the lanes have sent since the last call, or the failure of one.
    pub(super) fn progress(&self) -> Result<LaneProgress, Failure> {
        let progress =
            self.with(|file| file.failure.clone().map_or_else(|| Ok(file.queue.progress()), Err));
        progress.unwrap_or_else(|| Ok(LaneProgress::default()))
    }

    /// Whether the receiver has everything.
    pub(super) fn is_settled(&self) -> bool {
        self.with(|file| file.queue.is_settled()).unwrap_or(true)
    }
}
