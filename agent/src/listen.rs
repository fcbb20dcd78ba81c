//! The listening socket. A socket that systemd hands over (`LISTEN_FDS`) would come in here, beside
//! [`Listener::bind`].

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// How long to wait before accepting again, when descriptors or memory ran out.
const PAUSE: Duration = Duration::from_millis(100);

/// An address that can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listen on {address}: {}", lariat_common::protocol::failure::io_error(source))]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

/// Takes connections, whatever goes wrong with single ones.
pub struct Listener {
    socket: TcpListener,
    resume: Instant,
}

impl Listener {
    /// Listens on `address`; `[::]` takes IPv4 as well. Must be called inside a runtime.
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let socket = bind(address).map_err(|source| ListenError { address, source })?;
        Ok(Self { socket, resume: Instant::now() })
    }

    /// Where it listens, with the port that the system picked if it was to.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection and its peer's address. Cancelling it loses nothing.
    pub async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            sleep_until(self.resume).await;
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    // A socket that can't be set so is about to fail anyway.
                    let _ = stream.set_nodelay(true);
                    return (stream, SocketAddr::new(peer.ip().to_canonical(), peer.port()));
                }
                // It was gone before it was accepted.
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    tracing::warn!("can't accept connections for a moment: {error}");
                    self.resume = Instant::now() + PAUSE;
                }
            }
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Linux passes errors that are already pending on the new connection (accept(2)).
fn is_of_the_peer(error: &io::Error) -> bool {
    let Some(errno) = error.raw_os_error().map(Errno::from_raw_os_error) else { return false };
    matches!(
        errno,
        Errno::CONNABORTED
            | Errno::CONNRESET
            | Errno::PROTO
            | Errno::INTR
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::OPNOTSUPP
            | Errno::TIMEDOUT
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn port_0_picks_one_and_an_address_in_use_is_told() {
        runtime().block_on(async {
            let first = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = first.address().unwrap();
            assert_ne!(address.port(), 0);
            let taken = Listener::bind(address).err().unwrap();
            assert_eq!(taken.to_string(), format!("listen on {address}: address already in use"));
        });
    }

    #[test]
    fn an_ipv4_peer_of_an_ipv6_socket_is_seen_as_ipv4() {
        runtime().block_on(async {
            // A machine without IPv6 has nothing to test here.
            let Ok(mut listener) = Listener::bind("[::]:0".parse().unwrap()) else { return };
            let port = listener.address().unwrap().port();
            let ours = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (theirs, peer) = listener.accept().await;
            assert_eq!(peer, ours.local_addr().unwrap());
            assert!(theirs.nodelay().unwrap());
        });
    }
}
