//! Frames over any stream: a session's two directions, each of its own.
//!
//! A [`Link`] is a [`Reader`] and a [`Writer`] that share an [`Outbox`]. Small control messages are
//! posted to the outbox, by either direction and without waiting; whoever drives the writer sends
//! them, before and between bulk frames. So an end that is told something can always answer, also
//! while the other direction is full, and a `Ping` is answered whatever else goes on.

mod hello;
mod keepalive;
mod outbox;
mod pulse;
mod reader;
mod writer;

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf, split};

pub use hello::{hello_frame, read_hello};
pub use outbox::Outbox;
pub use pulse::Pulse;
pub use reader::{Frame, Reader};
pub use writer::{RelayError, Writer, message_frame};

use crate::codec::CodecError;
use crate::frame::FrameError;
use crate::memory::Memory;
use crate::protocol::{Kind, Message};

/// Why a link can't go on. All of them end the connection.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The stream failed.
    #[error("{}", lariat_base::os_error::io_error(.0))]
    Io(#[source] std::io::Error),
    /// The stream ended without a word: a cut, never the end of anything.
    #[error("the connection broke")]
    Cut,
    /// The peer has said nothing for [`crate::limits::DEAD_AFTER`], pings included.
    #[error("no sign of life for 30 s")]
    Silent,
    /// The bytes of a frame come slower than [`crate::limits::SLOWEST`].
    #[error("less than {} bytes a second arrive", crate::limits::SLOWEST)]
    Slow,
    /// The agent takes no more requests: it is stopping, or has no place.
    #[error("the agent takes no more requests now; try again in {} s", retry_after_ms.div_ceil(1000))]
    Goodbye {
        /// When to come back, in milliseconds.
        retry_after_ms: u64,
    },
    /// The peer sent something that is no frame.
    #[error("the peer misbehaved: {0}")]
    Frame(#[from] FrameError),
    /// The peer sent something that is no message, or we can't send ours.
    #[error("the peer misbehaved: {0}")]
    Codec(#[from] CodecError),
    /// The peer made us keep more than it may.
    #[error("it asked us to keep more than it may")]
    Memory,
    /// The peer sent a frame that has no place here.
    #[error("the peer misbehaved: unexpected {0:?} frame")]
    Unexpected(Kind),
    /// The peer broke another rule.
    #[error("the peer misbehaved: {0}")]
    Misbehaved(&'static str),
}

impl From<std::io::Error> for LinkError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match error.kind() {
            UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe => Self::Cut,
            _ => Self::Io(error),
        }
    }
}

/// Both directions of a session over `S`.
pub struct Link<S> {
    /// What the peer says.
    pub reader: Reader<ReadHalf<S>>,
    /// What we say.
    pub writer: Writer<WriteHalf<S>>,
}

impl<S: AsyncRead + AsyncWrite> Link<S> {
    /// A connection on which the first request is under way.
    pub fn new(stream: S) -> Self {
        Self::with_memory(stream, 1, Memory::default())
    }

    /// A connection on which the request of this number is under way; 0 before the first. `memory` is charged
    /// for what waits in either direction, and those who serve requests find it with the outbox.
    pub fn with_memory(stream: S, request: u16, memory: Memory) -> Self {
        let (read, write) = split(stream);
        let outbox = Outbox::new(memory, request);
        Self { reader: Reader::new(read, outbox.clone()), writer: Writer::new(write, outbox) }
    }

    /// The way to post control messages.
    pub fn outbox(&self) -> &Outbox {
        self.writer.outbox()
    }

    /// Waits for the next frame of the present request while what was posted is sent: see
    /// [`Reader::next`]. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Result<Option<Frame>, LinkError> {
        tokio::select! {
            biased;
            // First, so that a peer that never pauses still gets its answers.
            error = self.writer.drive() => Err(error),
            frame = self.reader.next() => frame,
        }
    }

    /// Waits for the next request while what was posted is sent: see [`Reader::next_request`]. Cancelling
    /// it loses nothing.
    pub async fn next_request(&mut self) -> Result<Option<Frame>, LinkError> {
        tokio::select! {
            biased;
            error = self.writer.drive() => Err(error),
            frame = self.reader.next_request() => frame,
        }
    }

    /// Passes over what the peer still sends, until it ends the session or `limit` is over: closing
    /// at once could destroy what was last sent to it.
    pub async fn drain(&mut self, limit: Duration) {
        let drained = async { while let Ok(Some(_)) = self.next_request().await {} };
        // What is left after that long nobody waits for.
        let _ = tokio::time::timeout(limit, drained).await;
    }

    /// Waits for a message of one kind; any other frame is an error, and so is the end. A message of the
    /// session itself may come when the present request is over.
    pub async fn expect<M: Message>(&mut self) -> Result<M, LinkError> {
        loop {
            match self.next().await? {
                Some(frame) if frame.kind == M::KIND => return self.reader.message(),
                Some(frame) => return Err(LinkError::Unexpected(frame.kind)),
                None if M::KIND.is_session() && self.reader.take_finished() => {}
                None => return Err(LinkError::Cut),
            }
        }
    }

    /// Opens the next request with `message`, and waits until it is on its way.
    pub async fn ask<M: Message>(&mut self, message: &M) -> Result<(), LinkError> {
        self.outbox().begin(message)?;
        self.writer.flush().await
    }

    /// Posts a message of the present request and waits until it is on its way.
    pub async fn send<M: Message>(&mut self, message: &M) -> Result<(), LinkError> {
        self.outbox().post(message)?;
        self.writer.flush().await
    }
}

#[cfg(test)]
mod tests;
