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
    pending: Vec<u8>,
    sent: usize,
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

/// The bytes of a control message's frame.
pub fn message_frame<M: Message>(message: &M) -> Result<Vec<u8>, LinkError> {
    let payload = codec::encode(message)?;
    Ok([&Header { kind: M::KIND, len: payload.len() }.encode()[..], &payload].concat())
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
            let written = self.stream.write(&self.pending[self.sent..]).await?;
            if written == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
            self.sent += written;
        }
        Ok(())
    }

    /// Sends a bulk frame, behind what was posted. Cancelling it breaks the writer.
    pub async fn bulk(&mut self, kind: Kind, head: &[u8], body: &[u8]) -> Result<(), LinkError> {
        self.outbox.take(&mut self.pending);
        let header = Header { kind, len: head.len() + body.len() };
        self.pending.extend_from_slice(&header.encode());
        self.pending.extend_from_slice(head);
        let joined = body.len() <= JOIN;
        if joined {
            self.pending.extend_from_slice(body);
        }
        self.unfinished = true;
        self.write_pending().await?;
        if !joined {
            self.stream.write_all(body).await?;
        }
        self.flush().await?;
        self.unfinished = false;
        Ok(())
    }

    /// Passes on the frame that `from` has just read, a bulk frame as its bytes come. Cancelling it, or
    /// a failure of `from`, breaks the writer.
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
        self.outbox.take(&mut self.pending);
        self.pending.extend_from_slice(&Header { kind: frame.kind, len: frame.len }.encode());
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

    /// Whether a bulk frame was cancelled in its middle, so that nothing can follow it.
    pub fn is_broken(&self) -> bool {
        self.unfinished
    }

    /// Sends what was posted and ends our direction in order.
    pub async fn finish(&mut self) -> Result<(), LinkError> {
        self.flush().await?;
        Ok(self.stream.shutdown().await?)
    }
}
