//! One direction out: what was posted, and bulk frames between.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{Frame, LinkError, Outbox, Reader};
use crate::codec;
use crate::frame::Header;
use crate::protocol::{Kind, Message};

/// Bodies up to this length, in bytes, are sent in one write with their header. Longer ones follow it,
/// so that TLS records and hash blocks stay aligned with them.
const JOIN: usize = 16 * 1024;

/// Writes frames.
pub struct Writer<W> {
    stream: W,
    outbox: Outbox,
    /// Whole frames on their way, and what a cancelled [`Writer::bulk`] left of its own.
    pending: Vec<u8>,
    /// Bytes of `pending` that the stream has taken.
    sent: usize,
    /// A frame that was being passed on came to no end.
    unfinished: bool,
}

/// Which side of a relay failed.
#[derive(Debug)]
pub enum RelayError {
    /// The one that the frame came from.
    From(LinkError),
    /// The one that it went to.
    To(LinkError),
}

/// The bytes of a control message's frame in the request of this number. A message of the session itself
/// belongs to none.
pub fn message_frame<M: Message>(request: u16, message: &M) -> Result<Vec<u8>, LinkError> {
    let payload = codec::encode(message)?;
    let request = if M::KIND.is_session() { 0 } else { request };
    let header = Header { kind: M::KIND, request, len: payload.len() };
    Ok([&header.encode()[..], &payload].concat())
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(super) fn new(stream: W, outbox: Outbox) -> Self {
        Self { stream, outbox, pending: Vec::new(), sent: 0, unfinished: false }
    }

    /// The way to post control messages.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Sends what was posted and what will be, until the stream fails. Cancelling it loses nothing.
    pub async fn drive(&mut self) -> LinkError {
        loop {
            if let Err(error) = self.flush().await {
                return error;
            }
            self.outbox.posted().await;
        }
    }

    /// Sends what was posted. Cancelling it loses nothing.
    pub async fn flush(&mut self) -> Result<(), LinkError> {
        self.outbox.take(&mut self.pending);
        if self.pending.is_empty() {
            return Ok(());
        }
        self.write_pending().await?;
        self.stream.flush().await?;
        self.pending.clear();
        self.sent = 0;
        self.outbox.sent();
        Ok(())
    }

    async fn write_pending(&mut self) -> Result<(), LinkError> {
        while self.sent < self.pending.len() {
            self.sent += some(self.stream.write(&self.pending[self.sent..]).await)?;
        }
        Ok(())
    }

    /// Sends a bulk frame, behind what was posted. Cancelling it loses nothing: the rest of the frame is sent
    /// before whatever follows.
    pub async fn bulk(&mut self, kind: Kind, head: &[u8], body: &[u8]) -> Result<(), LinkError> {
        self.start(kind, head.len() + body.len());
        self.pending.extend_from_slice(head);
        if body.len() <= JOIN {
            self.pending.extend_from_slice(body);
            return self.flush().await;
        }
        let mut unsent = Unsent { writer: self, body };
        unsent.writer.write_pending().await?;
        while !unsent.body.is_empty() {
            let written = some(unsent.writer.stream.write(unsent.body).await)?;
            unsent.body = &unsent.body[written..];
        }
        drop(unsent);
        self.flush().await
    }

    /// Puts what was posted, and the header of a frame, on its way.
    fn start(&mut self, kind: Kind, len: usize) {
        self.outbox.take(&mut self.pending);
        let header = Header { kind, request: self.outbox.request(), len };
        self.pending.extend_from_slice(&header.encode());
    }

    /// Passes on the frame that `from` has just read, in this connection's own request; a bulk frame as its
    /// bytes come. Cancelling it, or a failure of `from`, breaks the writer.
    ///
    /// `buffer` is where bytes of a bulk frame pass through.
    pub async fn relay<R: AsyncRead + Unpin>(
        &mut self,
        frame: Frame,
        from: &mut Reader<R>,
        buffer: &mut [u8],
    ) -> Result<(), RelayError> {
        if !frame.kind.is_bulk() {
            return self.bulk(frame.kind, &[], from.payload()).await.map_err(RelayError::To);
        }
        self.start(frame.kind, frame.len);
        self.unfinished = true;
        self.write_pending().await.map_err(RelayError::To)?;
        while from.bulk_left() > 0 {
            let read = from.bulk_some(buffer).await.map_err(RelayError::From)?;
            self.stream.write_all(&buffer[..read]).await.map_err(|e| RelayError::To(e.into()))?;
            if from.bulk_left() > 0 {
                // What came is passed on even if nothing follows.
                self.stream.flush().await.map_err(|e| RelayError::To(e.into()))?;
            }
        }
        self.flush().await.map_err(RelayError::To)?;
        self.unfinished = false;
        Ok(())
    }

    /// Whether [`Writer::relay`] came to no end in the middle of a frame, so that nothing can follow it.
    pub fn is_broken(&self) -> bool {
        self.unfinished
    }

    /// Sends what was posted and ends our direction in order.
    pub async fn finish(&mut self) -> Result<(), LinkError> {
        self.flush().await?;
        Ok(self.stream.shutdown().await?)
    }
}

/// A bulk frame that is being sent. What is left of it when it is dropped waits to be sent.
struct Unsent<'a, W> {
    writer: &'a mut Writer<W>,
    body: &'a [u8],
}

impl<W> Drop for Unsent<'_, W> {
    fn drop(&mut self) {
        self.writer.pending.extend_from_slice(self.body);
    }
}

/// The number of bytes that a stream took: at least one.
fn some(written: io::Result<usize>) -> Result<usize, LinkError> {
    match written? {
        0 => Err(io::Error::from(io::ErrorKind::WriteZero).into()),
        written => Ok(written),
    }
}
