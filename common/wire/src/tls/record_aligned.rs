//! The stream below a TLS handshake: it never returns more than the current record.
//!
//! So nothing is left in the handshake's own buffers when the connection is taken over.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::record::HEADER;

/// Reads a record's header, then its body, and nothing beyond.
pub struct RecordAligned<S> {
    stream: S,
    header: [u8; HEADER],
    /// Bytes of the header that have arrived.
    filled: usize,
    /// Bytes of the body that have not.
    left: usize,
}

impl<S> RecordAligned<S> {
    /// A stream that is before its first record.
    pub fn new(stream: S) -> Self {
        Self { stream, header: [0; HEADER], filled: 0, left: 0 }
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The stream below. Reading it directly bypasses the record boundaries.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The stream below, and whether it is between two records.
    pub(super) fn into_inner(self) -> (S, bool) {
        (self.stream, self.filled == 0)
    }

    fn came(&mut self, bytes: &[u8]) {
        if self.left > 0 {
            self.left -= bytes.len();
        } else {
            self.header[self.filled..self.filled + bytes.len()].copy_from_slice(bytes);
            self.filled += bytes.len();
            if self.filled < HEADER {
                return;
            }
            self.left = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
        }
        if self.left == 0 {
            self.filled = 0;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for RecordAligned<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let due = if this.left > 0 { this.left } else { HEADER - this.filled };
        let due = due.min(buffer.remaining());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(due));
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
        this.came(part.filled());
        let read = part.filled().len();
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for RecordAligned<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
