//! The connection below TLS, once TLS has ended.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use lariat_wire::tls::Channel;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{Baring, BoxStream, Stream};

/// A connection of which some bytes have been read already, and are read again first.
struct After {
    first: Vec<u8>,
    /// Bytes of `first` that have been read again.
    read: usize,
    stream: BoxStream,
}

impl Stream for Channel<BoxStream> {
    fn bare(self: Box<Self>) -> Baring {
        Box::pin(async {
            let (stream, first) = Self::bare(*self).await?;
            Ok(Box::new(After { first, read: 0, stream }) as BoxStream)
        })
    }
}

impl Stream for After {
    fn bare(self: Box<Self>) -> Baring {
        Box::pin(async { Ok(self as BoxStream) })
    }

    fn into_tcp(self: Box<Self>) -> Option<TcpStream> {
        if self.read < self.first.len() { None } else { self.stream.into_tcp() }
    }
}

impl AsyncRead for After {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = &self.first[self.read..];
        if left.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let len = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..len]);
        self.read += len;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for After {
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
