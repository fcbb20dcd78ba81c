//! A destination of a host's output, which decodes it before another one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::decoder::StreamDecoder;
use super::name::HostEncoding;

/// Bytes that are decoded at a time.
const PIECE: usize = 16 * 1024;

/// Decodes what is written to it. A shutdown ends a stream, after which another one may come.
///
/// Bytes count as written once the destination has their text, so that a host's output is acknowledged no sooner.
pub(crate) struct Decoded<W> {
    decoder: StreamDecoder,
    /// Text for the destination, which has all before `written`.
    text: String,
    written: usize,
    /// Bytes that are decoded and not yet reported as written.
    unreported: usize,
    destination: W,
}

impl<W> Decoded<W> {
    /// Decodes for this destination.
    pub(crate) fn new(encoding: HostEncoding, destination: W) -> Self {
        let decoder = StreamDecoder::new(encoding);
        Self { decoder, text: String::new(), written: 0, unreported: 0, destination }
    }

    /// How often something could not be decoded, and was replaced.
    pub(crate) fn replaced(&self) -> u64 {
        self.decoder.replaced()
    }

    /// The destination of the text.
    pub(crate) fn destination(&mut self) -> &mut W {
        &mut self.destination
    }

    /// The destination of the text.
    pub(crate) fn into_destination(self) -> W {
        self.destination
    }
}

impl<W: AsyncWrite + Unpin> Decoded<W> {
    fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.text.len() {
            let left = &self.text.as_bytes()[self.written..];
            match ready!(Pin::new(&mut self.destination).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                len => self.written += len,
            }
        }
        self.text.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Decoded<W> {
    /// After `Pending`, the bytes of the next call must begin with the same ones.
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.unreported == 0 {
            ready!(this.poll_text(cx))?;
            let piece = &bytes[..bytes.len().min(PIECE)];
            this.decoder.push(piece, &mut this.text);
            this.unreported = piece.len();
        }
        ready!(this.poll_text(cx))?;
        let len = this.unreported.min(bytes.len());
        this.unreported -= len;
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_text(cx))?;
        Pin::new(&mut self.destination).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.decoder.end(&mut this.text);
        ready!(this.poll_text(cx))?;
        Pin::new(&mut this.destination).poll_shutdown(cx)
    }
}
