//! Where connections are accepted on this machine.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use lariat_client::BoxStream;
use rustix::fs::Mode;
use rustix::process::umask;
use tokio::net::{TcpListener, UnixListener};
use tokio::time::sleep;

use super::spec::Here;

/// How long to wait where no connection can be accepted, such as when descriptors are used up.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, Socket),
}

/// The file of a unix socket, which is removed with it.
pub(super) struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        let _ = fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Begins to listen. Only this user can connect to a unix socket.
    pub(super) async fn bind(here: &Here) -> io::Result<Self> {
        match here {
            Here::Tcp(address) => Ok(Self::Tcp(tcp(*address).await?)),
            Here::Unix(path) => {
                let before = umask(Mode::RWXG | Mode::RWXO | Mode::XUSR);
                let bound = UnixListener::bind(path);
                umask(before);
                Ok(Self::Unix(bound?, Socket(path.clone())))
            }
        }
    }

    /// Where it listens.
    pub(super) fn place(&self) -> io::Result<Here> {
        Ok(match self {
            Self::Tcp(listener) => Here::Tcp(listener.local_addr()?),
            Self::Unix(_, Socket(path)) => Here::Unix(path.clone()),
        })
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<BoxStream>> {
        Poll::Ready(match self {
            Self::Tcp(listener) => ready!(listener.poll_accept(cx)).map(|(stream, _)| {
                let _ = stream.set_nodelay(true);
                Box::new(stream) as BoxStream
            }),
            Self::Unix(listener, _) => {
                ready!(listener.poll_accept(cx)).map(|(stream, _)| Box::new(stream) as BoxStream)
            }
        })
    }
}

/// All addresses are those of both families, where there are both.
async fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error)
            if address.ip().is_unspecified()
                && error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
}

/// The next connection at any of these, with the number of its listener. Cancel-safe.
pub(super) async fn accept(listeners: &[Listener]) -> (usize, BoxStream) {
    loop {
        let accepted = std::future::poll_fn(|cx| {
            for (number, listener) in listeners.iter().enumerate() {
                if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                    return Poll::Ready(accepted.map(|stream| (number, stream)));
                }
            }
            Poll::Pending
        });
        match accepted.await {
            Ok(accepted) => return accepted,
            Err(_) => sleep(PAUSE).await,
        }
    }
}
