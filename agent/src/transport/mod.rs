//! Where connections come from. Transports differ only in here: sessions see a [`BoxStream`] and an
//! [`Origin`].

mod local;
mod passed;
mod socket;
mod tcp;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use lariat_base::name::HostName;
use lariat_wire::link::Link;
use lariat_wire::tls::Channel;
use tokio::io::{AsyncRead, AsyncWrite, Empty, Interest, Join, ReadBuf, Sink};
use tokio::net::{TcpStream, UnixStream};

use crate::policy::networks::Peer;

pub use local::LocalListener;
pub(crate) use local::{bind_private, local_socket};
pub use passed::{Passed, PassedError, take as take_passed};
pub use socket::Socket;
pub use tcp::{ListenError, TcpListener};

/// A connection's bytes, whatever carries them.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Ends what protects the bytes, and returns the connection below, with what has arrived from it since.
    fn bare(self: Box<Self>) -> Baring;

    /// Detaches the connection from its runtime. Reads and writes fail until [`Stream::attach`].
    fn detach(&mut self) -> io::Result<()>;

    /// Attaches the connection to the current runtime.
    fn attach(&mut self) -> io::Result<()>;
}

/// A connection that is being laid bare.
pub type Baring = Pin<Box<dyn Future<Output = io::Result<(Movable, Vec<u8>)>> + Send>>;

impl Stream for Channel<Socket> {
    fn bare(self: Box<Self>) -> Baring {
        Box::pin(async {
            let (socket, first) = Self::bare(*self).await?;
            Ok((socket.into_stream()?, first))
        })
    }

    fn detach(&mut self) -> io::Result<()> {
        self.get_mut().detach()
    }

    fn attach(&mut self) -> io::Result<()> {
        self.get_mut().attach()
    }
}

impl Stream for Movable {
    fn bare(self: Box<Self>) -> Baring {
        Box::pin(async { Ok((*self, Vec::new())) })
    }

    /// A connection from this host itself stays where it is.
    fn detach(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn attach(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// In place of a connection that is used up.
impl Stream for Join<Empty, Sink> {
    fn bare(self: Box<Self>) -> Baring {
        Box::pin(async { Err(io::ErrorKind::NotConnected.into()) })
    }

    fn detach(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::NotConnected.into())
    }

    fn attach(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::NotConnected.into())
    }
}

/// A session's connection. Costs one virtual call for a batch of records.
pub type BoxStream = Box<dyn Stream>;

/// A session's connection, as requests use it.
pub type SessionLink = Link<BoxStream>;

/// A connection that has just been accepted.
pub struct Arrival {
    /// The connection.
    pub stream: Movable,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a session's bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From this TCP address.
    Tcp(SocketAddr),
    /// Through a gateway that this agent has dialled, which does not say from where.
    Gateway {
        /// Its name.
        name: HostName,
        /// Its address, or that of a proxy on the way to it.
        address: SocketAddr,
    },
    /// From a process on this host.
    Local {
        /// The user that the process runs as.
        uid: u32,
        /// The process id, if the system reports it.
        pid: Option<i32>,
    },
}

impl Origin {
    /// Whether it is a process on this host.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local { .. })
    }

    /// Where the controller is, as far as rules see it; `None` if that is this host.
    pub fn peer(&self) -> Option<Peer> {
        match self {
            // Behind a gateway, its own address counts.
            Self::Tcp(address) | Self::Gateway { address, .. } => {
                let (address, is_own) = (address.ip(), is_own(*address));
                Some(Peer { address, is_own })
            }
            Self::Local { .. } => None,
        }
    }
}

/// Whether an address is one of this host's own: only these can be bound to.
pub fn is_own(address: SocketAddr) -> bool {
    let mut address = address;
    address.set_ip(address.ip().to_canonical());
    address.set_port(0);
    let bound = std::net::UdpSocket::bind(address);
    !bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Gateway { name, address } => write!(f, "via {name} ({address})"),
            Self::Local { uid, pid: Some(pid) } => write!(f, "local:{uid}, process {pid}"),
            Self::Local { uid, pid: None } => write!(f, "local:{uid}"),
        }
    }
}

/// A connection that is attached to a runtime, and can be moved to another.
pub enum Movable {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
}

trait Bytes: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Bytes for S {}

impl AsFd for Movable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// A connection that is attached to no runtime.
pub enum Detached {
    /// Over TCP.
    Tcp(std::net::TcpStream),
    /// Over a unix socket.
    Unix(std::os::unix::net::UnixStream),
}

impl Movable {
    /// Detaches the connection from its runtime.
    pub fn detach(self) -> io::Result<Detached> {
        Ok(match self {
            Self::Tcp(stream) => Detached::Tcp(stream.into_std()?),
            Self::Unix(stream) => Detached::Unix(stream.into_std()?),
        })
    }

    /// Does non-blocking work once the connection is ready for it, again and again while it is not.
    pub async fn ready<T>(
        &self,
        interest: Interest,
        work: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        match self {
            Self::Tcp(stream) => stream.async_io(interest, work).await,
            Self::Unix(stream) => stream.async_io(interest, work).await,
        }
    }

    fn inner(self: Pin<&mut Self>) -> Pin<&mut dyn Bytes> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream),
            Self::Unix(stream) => Pin::new(stream),
        }
    }
}

impl Detached {
    /// Attaches the connection to the current runtime.
    pub fn attach(self) -> io::Result<Movable> {
        Ok(match self {
            Self::Tcp(stream) => Movable::Tcp(TcpStream::from_std(stream)?),
            Self::Unix(stream) => Movable::Unix(UnixStream::from_std(stream)?),
        })
    }
}

impl AsyncRead for Movable {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.inner().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Movable {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(cx)
    }
}
