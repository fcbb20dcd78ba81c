//! The stream under TLS, which can move from one runtime to another.
//!
//! The accepting runtime serves unauthenticated peers, and each session has a runtime of its own. The TLS
//! state in between can't be taken apart, so the stream under it is detached from one runtime and attached to
//! the other. The stream also counts what an unauthenticated peer sends, fails once that exceeds
//! [`MAX_UNAUTHENTICATED_BYTES`], and reports the first answer to the peer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lariat_wire::limits::MAX_UNAUTHENTICATED_BYTES;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Detached, Movable};
use crate::admission::{Progress, Stage};

/// A connection, attached to a runtime or in between.
pub struct Socket {
    state: State,
    received: u64,
    unauthenticated: bool,
    /// Reports the first answer to the unauthenticated peer.
    unanswered: Option<Progress>,
}

enum State {
    Attached(Movable),
    Detached(Detached),
    Gone,
}

impl Socket {
    /// A connection that has not logged in, on the current runtime.
    pub fn unauthenticated(stream: Movable) -> Self {
        Self {
            state: State::Attached(stream),
            received: 0,
            unauthenticated: true,
            unanswered: None,
        }
    }

    /// Reports the first answer to the unauthenticated peer to `progress`.
    #[must_use]
    pub fn telling(self, progress: Progress) -> Self {
        Self { unanswered: Some(progress), ..self }
    }

    /// Bytes received so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Lifts the limit on received bytes, because the peer has logged in.
    pub fn trust(&mut self) {
        self.unauthenticated = false;
    }

    /// Detaches the connection from its runtime. Reads and writes fail until [`Socket::attach`].
    pub fn detach(&mut self) -> io::Result<()> {
        if let State::Attached(stream) = std::mem::replace(&mut self.state, State::Gone) {
            self.state = State::Detached(stream.detach()?);
        }
        Ok(())
    }

    /// Attaches the connection to the current runtime.
    pub fn attach(&mut self) -> io::Result<()> {
        if let State::Detached(stream) = std::mem::replace(&mut self.state, State::Gone) {
            self.state = State::Attached(stream.attach()?);
        }
        Ok(())
    }

    /// The connection, if it is attached to a runtime.
    pub(super) fn into_stream(self) -> io::Result<Movable> {
        match self.state {
            State::Attached(stream) => Ok(stream),
            State::Detached(_) | State::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn written(
        &mut self,
        write: impl FnOnce(Pin<&mut Movable>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let written = ready!(write(self.stream()?))?;
        if let Some(progress) = self.unanswered.take() {
            progress.reached(Stage::Greeted);
        }
        Poll::Ready(Ok(written))
    }

    fn stream(&mut self) -> io::Result<Pin<&mut Movable>> {
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
        if this.unauthenticated && this.received > MAX_UNAUTHENTICATED_BYTES {
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
        self.get_mut().written(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().written(|stream| stream.poll_write_vectored(cx, bytes))
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_io().build().unwrap()
    }

    async fn pair() -> (TcpStream, Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (peer, Socket::unauthenticated(Movable::Tcp(listener.accept().await.unwrap().0)))
    }

    #[test]
    fn it_moves_to_another_runtime_and_thread_with_what_has_come() {
        let first = runtime();
        let (mut peer, mut socket) = first.block_on(async {
            let (mut peer, mut socket) = pair().await;
            peer.write_all(b"before").await.unwrap();
            assert_eq!(socket.read_u8().await.unwrap(), b'b');
            socket.detach().unwrap();
            assert!(socket.read_u8().await.is_err());
            (peer, socket)
        });
        let thread = std::thread::spawn(move || {
            runtime().block_on(async {
                socket.attach().unwrap();
                let mut rest = [0; 5];
                socket.read_exact(&mut rest).await.unwrap();
                assert_eq!(&rest, b"efore");
                socket.write_all(b"after").await.unwrap();
            });
        });
        first.block_on(async {
            let mut answer = String::new();
            peer.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer, "after");
        });
        thread.join().unwrap();
    }

    #[test]
    fn a_stranger_is_read_up_to_its_limit_and_who_is_trusted_without_one() {
        runtime().block_on(async {
            let over = usize::try_from(MAX_UNAUTHENTICATED_BYTES).unwrap() + 1;
            for trusted in [false, true] {
                let (mut peer, mut socket) = pair().await;
                let writer = tokio::task::spawn(async move {
                    let _ = peer.write_all(&vec![0; over]).await;
                });
                if trusted {
                    socket.trust();
                }
                let mut buffer = vec![0; over];
                assert!(socket.read_exact(&mut buffer[..over - 1]).await.is_ok());
                assert_eq!(socket.read_u8().await.is_ok(), trusted);
                assert_eq!(socket.received(), over as u64);
                drop(socket);
                writer.await.unwrap();
            }
        });
    }
}
