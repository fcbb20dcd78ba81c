//! The TCP stream under TLS, which can move from one runtime to another.
//!
//! A stranger is served by the runtime that accepts, a session by a runtime of its own, and the TLS
//! state between them can't be taken apart: so what is under it is taken off one runtime and put on
//! the other. It also counts what a stranger sends, and fails
//! once that is more than [`MAX_STRANGER_BYTES`].

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lariat_common::limits::MAX_STRANGER_BYTES;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection, on a runtime or between two.
pub struct Socket {
    state: State,
    received: u64,
    stranger: bool,
}

enum State {
    Attached(TcpStream),
    Detached(std::net::TcpStream),
    Gone,
}

impl Socket {
    /// A stranger's connection, on the present runtime.
    pub fn stranger(stream: TcpStream) -> Self {
        Self { state: State::Attached(stream), received: 0, stranger: true }
    }

    /// Bytes that have come.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Its peer has logged in: what it sends is no longer counted against it.
    pub fn trust(&mut self) {
        self.stranger = false;
    }

    /// Takes it off its runtime. Until [`Socket::attach`] nothing can be read or written.
    pub fn detach(&mut self) -> io::Result<()> {
        if let State::Attached(stream) = std::mem::replace(&mut self.state, State::Gone) {
            self.state = State::Detached(stream.into_std()?);
        }
        Ok(())
    }

    /// Puts it on the runtime that this is called in.
    pub fn attach(&mut self) -> io::Result<()> {
        if let State::Detached(stream) = std::mem::replace(&mut self.state, State::Gone) {
            self.state = State::Attached(TcpStream::from_std(stream)?);
        }
        Ok(())
    }

    /// Who is at the other end.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        match &self.state {
            State::Attached(stream) => stream.peer_addr(),
            State::Detached(stream) => stream.peer_addr(),
            State::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        match &mut self.state {
            State::Attached(stream) => Ok(Pin::new(stream)),
            State::Detached(_) | State::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(this.stream()?.poll_read(cx, buffer))?;
        this.received += (buffer.filled().len() - before) as u64;
        if this.stranger && this.received > MAX_STRANGER_BYTES {
            return Poll::Ready(Err(io::Error::other("too many bytes before a login")));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().stream()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().stream()?.poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_shutdown(cx)
    }
}
