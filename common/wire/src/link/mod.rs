//! Frames over any stream, in two independent directions.
//!
//! A [`Link`] is a [`Reader`] and a [`Writer`] that share an [`Outbox`]. Either direction posts small control
//! messages to the outbox, without waiting; whoever drives the writer sends them before and between bulk
//! frames. So an end can always answer, even while the other direction is full, and a `Ping` is answered
//! whatever else happens.

mod hello;
mod keepalive;
mod outbox;
mod pulse;
mod reader;
mod traffic;
mod writer;

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf, split};

pub use hello::{hello_frame, read_hello};
pub use outbox::Outbox;
pub use pulse::Pulse;
pub use reader::{Frame, OnAudit, Reader};
pub use traffic::Traffic;
pub use writer::{RelayError, Writer, message_frame};

use crate::codec::CodecError;
use crate::frame::FrameError;
use crate::memory::Memory;
use crate::protocol::{Kind, Message, UnknownKind};

/// Why a link can't continue. Every such error ends the connection.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The stream failed.
    #[error("{}", lariat_base::os_error::io_error(.0))]
    Io(#[source] std::io::Error),
    /// The stream ended inside a frame, or without the peer's orderly end.
    #[error("the connection broke")]
    Cut,
    /// The peer has sent nothing for [`crate::limits::DEAD_AFTER`], not even answers to pings.
    #[error("no sign of life for 30 s")]
    Silent,
    /// The bytes of a frame arrive more slowly than [`crate::limits::SLOWEST`].
    #[error("less than {} bytes a second arrive", crate::limits::SLOWEST)]
    Slow,
    /// The agent accepts no more requests: it is stopping, or has no session free.
    #[error("the agent takes no more requests now; try again in {} s", retry_after_ms.div_ceil(1000))]
    Goodbye {
        /// When to reconnect, in milliseconds.
        retry_after_ms: u64,
    },
    /// The peer sent something that is not a frame.
    #[error("the peer misbehaved: {0}")]
    Frame(#[from] FrameError),
    /// The peer's message does not decode, or a message of this end does not encode.
    #[error("the peer misbehaved: {0}")]
    Codec(#[from] CodecError),
    /// The peer made this end keep more than it may.
    #[error("it asked us to keep more than it may")]
    Memory,
    /// The peer sent a frame that is not allowed here.
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
    /// The direction from the peer.
    pub reader: Reader<ReadHalf<S>>,
    /// The direction to the peer.
    pub writer: Writer<WriteHalf<S>>,
}

impl<S: AsyncRead + AsyncWrite> Link<S> {
    /// A connection whose first request is being served.
    pub fn new(stream: S) -> Self {
        Self::with_memory(stream, 1, Memory::default())
    }

    /// A connection whose request of this number is being served; 0 before the first. `memory` is charged for
    /// what waits in either direction, and is available to the code that serves requests.
    pub fn with_memory(stream: S, request: u16, memory: Memory) -> Self {
        let (read, write) = split(stream);
        let outbox = Outbox::new(memory, request);
        Self { reader: Reader::new(read, outbox.clone()), writer: Writer::new(write, outbox) }
    }

    /// Posts control messages.
    pub fn outbox(&self) -> &Outbox {
        self.writer.outbox()
    }

    /// The stream below, from which nothing was read that belongs to no frame.
    pub fn into_stream(self) -> S
    where
        S: Unpin,
    {
        self.reader.into_stream().unsplit(self.writer.into_stream())
    }

    /// Adds what this connection carries from now on to `traffic`.
    pub fn count(&mut self, traffic: &Traffic) {
        self.reader.count(traffic.clone());
        self.writer.count(traffic.clone());
    }

    /// Waits for the next frame of the current request, while posted messages are sent: see [`Reader::next`].
    /// Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Frame>, LinkError> {
        tokio::select! {
            biased;
            // First, so that a peer that never pauses still gets its answers.
            error = self.writer.drive() => Err(error),
            frame = self.reader.next() => frame,
        }
    }

    /// Waits for the next request, while posted messages are sent: see [`Reader::next_request`]. Cancel-safe.
    pub async fn next_request(&mut self) -> Result<Option<Result<Frame, UnknownKind>>, LinkError> {
        tokio::select! {
            biased;
            error = self.writer.drive() => Err(error),
            frame = self.reader.next_request() => frame,
        }
    }

    /// Discards what the peer still sends, until it ends the session or `limit` has passed. Closing at once
    /// could destroy what was last sent to it.
    pub async fn drain(&mut self, limit: Duration) {
        let drained = async { while let Ok(Some(_)) = self.next_request().await {} };
        // After `limit` the rest is of no interest.
        let _ = tokio::time::timeout(limit, drained).await;
    }

    /// Waits for a message of one kind; any other frame is an error, and so is the end. A message of the
    /// session itself may arrive after the current request has ended.
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

    /// Opens the next request with `message`, and waits until it is sent.
    pub async fn ask<M: Message>(&mut self, message: &M) -> Result<(), LinkError> {
        self.outbox().begin(message)?;
        self.writer.flush().await
    }

    /// Posts a message of the current request, and waits until it is sent.
    pub async fn send<M: Message>(&mut self, message: &M) -> Result<(), LinkError> {
        self.outbox().post(message)?;
        self.writer.flush().await
    }
}

#[cfg(test)]
mod tests;
