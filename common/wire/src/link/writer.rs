//! The writing direction: posted messages, and bulk frames between them.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::traffic::Traffic;
use super::{Frame, LinkError, Outbox, Reader};
use crate::codec;
use crate::frame::Header;
use crate::protocol::{Kind, Message};

/// Bodies up to this length, in bytes, are written together with their header. Longer ones are written by
/// themselves, so that TLS records and hash blocks stay aligned with them.
const JOIN: usize = 16 * 1024;

/// Writes frames.
pub struct Writer<W> {
    stream: W,
    outbox: Outbox,
    /// Whole frames to be sent, and the rest of a frame whose [`Writer::bulk`] was cancelled.
    pending: Vec<u8>,
    /// Bytes of `pending` that the stream has taken.
    sent: usize,
    /// A frame that was being relayed was sent in part only.
    unfinished: bool,
    traffic: Traffic,
}

/// The side of a relay that failed.
#[derive(Debug)]
pub enum RelayError {
    /// The connection that the frame came from.
    From(LinkError),
    /// The connection that it was passed to.
    To(LinkError),
}

/// Encodes a control message's frame for the request of this number. A message of the session itself gets
/// number 0.
pub fn message_frame<M: Message>(request: u16, message: &M) -> Result<Vec<u8>, LinkError> {
    let payload = codec::encode(message)?;
    let request = if M::KIND.is_session() { 0 } else { request };
    let header = Header { kind: M::KIND, request, len: payload.len() };
    Ok([&header.encode()[..], &payload].concat())
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(super) fn new(stream: W, outbox: Outbox) -> Self {
        let (pending, traffic) = (Vec::new(), Traffic::default());
        Self { stream, outbox, pending, sent: 0, unfinished: false, traffic }
    }

    pub(super) fn into_stream(self) -> W {
        self.stream
    }

    /// Posts control messages.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Adds the bytes that the stream takes from now on to `traffic`.
    pub(super) fn count(&mut self, traffic: Traffic) {
        self.traffic = traffic;
    }

    /// Sends what is posted, until the stream fails. Cancel-safe.
    pub async fn drive(&mut self) -> LinkError {
        loop {
            if let Err(error) = self.flush().await {
                return error;
            }
            self.outbox.posted().await;
        }
    }

    /// Sends what was posted. Cancel-safe.
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
            let written = some(self.stream.write(&self.pending[self.sent..]).await)?;
            self.traffic.add(written);
            self.sent += written;
        }
        Ok(())
    }

    /// Sends a bulk frame, after what was posted. Cancel-safe: the rest of the frame is sent before anything
    /// else.
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
            unsent.writer.traffic.add(written);
            unsent.body = &unsent.body[written..];
        }
        drop(unsent);
        self.flush().await
    }

    /// Queues what was posted, and the header of a frame.
    fn start(&mut self, kind: Kind, len: usize) {
        self.outbox.take(&mut self.pending);
        let header = Header { kind, request: self.outbox.request(), len };
        self.pending.extend_from_slice(&header.encode());
    }

    /// Passes on the frame that `from` has just read, as part of this connection's current request; a bulk
    /// frame as its bytes arrive. Cancelling it, or a failure of `from`, breaks the writer.
    ///
    /// Bytes of a bulk frame pass through `buffer`.
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
                // Bytes that have arrived are passed on even if no more follow.
                self.stream.flush().await.map_err(|e| RelayError::To(e.into()))?;
            }
        }
        self.flush().await.map_err(RelayError::To)?;
        self.unfinished = false;
        Ok(())
    }

    /// Whether [`Writer::relay`] ended in the middle of a frame, so that nothing can follow it.
    pub fn is_broken(&self) -> bool {
        self.unfinished
    }

    /// Sends what was posted, and ends this direction in order.
    pub async fn finish(&mut self) -> Result<(), LinkError> {
        self.flush().await?;
        Ok(self.stream.shutdown().await?)
    }
}

/// A bulk frame that is being sent. Dropping it queues the rest of the frame.
struct Unsent<'a, W> {
    writer: &'a mut Writer<W>,
    body: &'a [u8],
}

impl<W> Drop for Unsent<'_, W> {
    fn drop(&mut self) {
        self.writer.pending.extend_from_slice(self.body);
    }
}

/// The number of bytes that a stream took; 0 is an error.
fn some(written: io::Result<usize>) -> Result<usize, LinkError> {
    match written? {
        0 => Err(io::Error::from(io::ErrorKind::WriteZero).into()),
        written => Ok(written),
    }
}
