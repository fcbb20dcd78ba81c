//! Connections over TCP.
//!
//! The agent also listens on an address that the host does not have yet: it may come with its interface, long
//! after boot. Where systemd passes a socket, it listens on that.

use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::passed::Passed;
use super::{Arrival, Movable, Origin};
use crate::folded::Folded;
use crate::notify;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// The pause before accepting again when descriptors or memory ran out.
const PAUSE: Duration = Duration::from_millis(100);

/// How long an address that is in use is waited for: systemd may still be closing the socket that it kept, and a process
/// that an agent had just forked when it was killed holds the socket until it executes its program.
const HELD: Duration = Duration::from_millis(500);

/// An address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listen on {address}: {}{}", lariat_base::os_error::io_error(source), self.hint())]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

impl ListenError {
    fn hint(&self) -> &'static str {
        match self.source.kind() {
            io::ErrorKind::AddrInUse => {
                "; another lariatd may run already: ss -ltnp shows who listens there"
            }
            io::ErrorKind::AddrNotAvailable => {
                "; this host has no such address: ip address lists them"
            }
            io::ErrorKind::PermissionDenied => "; a port below 1024 is for root",
            _ => "",
        }
    }
}

/// Accepts connections. Errors of single connections don't end it.
pub struct TcpListener {
    socket: tokio::net::TcpListener,
    source: Source,
    resume: Instant,
    /// Log lines about failures to accept.
    folded: Folded<String>,
}

/// Where the listening socket comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The agent bound it.
    Own,
    /// An earlier run of the agent bound it, and systemd kept it.
    Stored,
    /// A socket unit of systemd.
    Unit,
}

impl TcpListener {
    /// Listens on the socket of a socket unit, else on `address`, with the socket that systemd has kept for it if there
    /// is one. Must be called within a runtime.
    pub fn open(address: SocketAddr, passed: Vec<Passed>) -> Result<Self, ListenError> {
        let address = available(address);
        let (mut stored, units): (Vec<_>, Vec<_>) =
            passed.into_iter().partition(|passed| passed.is_stored);
        if stored.iter().any(|stored| !units.is_empty() || !is_at(stored.address, address)) {
            notify::forget();
            stored.clear();
        }
        let Some(Passed { socket, address, is_stored }) = units.into_iter().chain(stored).next()
        else {
            return Self::bind(address);
        };
        let source = if is_stored { Source::Stored } else { Source::Unit };
        let socket = listen(socket).map_err(|source| ListenError { address, source })?;
        Ok(Self::new(socket, source))
    }

    fn new(socket: tokio::net::TcpListener, source: Source) -> Self {
        Self { socket, source, resume: Instant::now(), folded: Folded::default() }
    }

    /// Listens on `address`. `[::]` accepts IPv4 as well. Must be called within a runtime.
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let until = Instant::now() + HELD;
        let bound = loop {
            let bound = bind(address);
            let is_in_use = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
            if !bound.as_ref().is_err_and(is_in_use) || Instant::now() >= until {
                break bound;
            }
            thread::sleep(HELD / 20);
        };
        let socket = bound.map_err(|source| ListenError { address, source })?;
        Ok(Self::new(socket, Source::Own))
    }

    /// The socket, if systemd neither has nor owns it.
    pub fn to_store(&self) -> Option<BorrowedFd<'_>> {
        (self.source == Source::Own).then(|| self.socket.as_fd())
    }

    /// Where the socket comes from, for the log; empty if the agent bound it.
    pub fn origin(&self) -> &'static str {
        match self.source {
            Source::Own => "",
            Source::Stored => " (kept over the restart)",
            Source::Unit => " (of a socket unit)",
        }
    }

    /// The address that it listens on, with the port that the system picked for port 0.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection. Cancel-safe.
    pub async fn accept(&mut self) -> Arrival {
        loop {
            sleep_until(self.resume).await;
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = write_counts(&mut self.folded) => continue,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // A socket that refuses this is about to fail anyway.
                    let _ = stream.set_nodelay(true);
                    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                    ask_for_bbr(&stream, peer);
                    return Arrival { stream: Movable::Tcp(stream), origin: Origin::Tcp(peer) };
                }
                // The connection was gone before it was accepted.
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    let now = std::time::Instant::now();
                    let why = format!("can't accept connections for a moment: {error}");
                    if self.folded.is_news(why.clone(), now) {
                        tracing::warn!("{why}");
                    }
                    self.resume = Instant::now() + PAUSE;
                }
            }
        }
    }
}

/// Asks the kernel for BBR, which does not take a lost packet for a full path. A kernel without it keeps to its own
/// choice. On loopback nothing is lost, and BBR's pacing only costs.
fn ask_for_bbr(stream: &TcpStream, peer: SocketAddr) {
    if !peer.ip().is_loopback() {
        let _ = rustix::net::sockopt::set_tcp_congestion(stream, "bbr");
    }
}

/// Waits until counts of folded lines are due, and writes them.
async fn write_counts(folded: &mut Folded<String>) {
    match folded.due() {
        Some(due) => sleep_until(due.into()).await,
        None => pending().await,
    }
    for (why, count) in folded.take(std::time::Instant::now()) {
        let why = why.as_deref().unwrap_or("for other reasons");
        tracing::warn!("{why}: {count} more in the last minute");
    }
}

fn bind(address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    match socket.bind(&address.into()) {
        Err(error) if errno(&error) == Some(Errno::ADDRNOTAVAIL) => {
            bind_freely(&socket, address).map_err(|_| error)?;
            tracing::warn!("{} is no address of this host yet", address.ip());
        }
        bound => bound?,
    }
    listen(socket)
}

fn listen(socket: Socket) -> io::Result<tokio::net::TcpListener> {
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    tokio::net::TcpListener::from_std(socket.into())
}

/// The address that is meant on this host: `[::]` means `0.0.0.0` where there is no IPv6.
fn available(address: SocketAddr) -> SocketAddr {
    if address.ip() != Ipv6Addr::UNSPECIFIED {
        return address;
    }
    match bind(SocketAddr::new(address.ip(), 0)) {
        Err(error) if has_no_ipv6(address, &error) => {
            SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port())
        }
        _ => address,
    }
}

/// Whether a socket at `present` is what is meant by `wanted`, whose port may be 0.
fn is_at(present: SocketAddr, wanted: SocketAddr) -> bool {
    present.ip() == wanted.ip() && [0, present.port()].contains(&wanted.port())
}

/// Binds to an address that the host may get later.
fn bind_freely(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address.ip() {
        IpAddr::V4(_) => rustix::net::sockopt::set_ip_freebind(socket, true)?,
        IpAddr::V6(_) => rustix::net::sockopt::set_ipv6_freebind(socket, true)?,
    }
    socket.bind(&address.into())
}

/// Whether `[::]` was asked for on a host without IPv6.
fn has_no_ipv6(address: SocketAddr, error: &io::Error) -> bool {
    address.ip() == Ipv6Addr::UNSPECIFIED
        && matches!(errno(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw_os_error)
}

/// Linux passes pending network errors of the new connection on as errors of accept(2).
fn is_of_the_peer(error: &io::Error) -> bool {
    let Some(errno) = errno(error) else { return false };
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
            let first = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = first.address().unwrap();
            assert_ne!(address.port(), 0);
            let taken = TcpListener::bind(address).err().unwrap();
            let taken = taken.to_string();
            assert!(
                taken.starts_with(&format!("listen on {address}: address already in use; ")),
                "{taken}"
            );
        });
    }

    #[test]
    fn a_stored_socket_fits_only_its_own_address() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (present, wanted, fits) in [
            ("10.0.0.1:7433", "10.0.0.1:7433", true),
            ("10.0.0.1:7433", "10.0.0.1:0", true),
            ("10.0.0.1:7433", "10.0.0.1:7434", false),
            ("10.0.0.1:7433", "10.0.0.2:7433", false),
            ("0.0.0.0:7433", "[::]:7433", false),
        ] {
            assert_eq!(is_at(at(present), at(wanted)), fits, "{present} {wanted}");
        }
    }

    #[test]
    fn an_address_that_is_not_there_yet_is_listened_on() {
        runtime().block_on(async {
            // Addresses for documentation (RFC 5737, RFC 3849): no host has one of them.
            for address in ["192.0.2.7:0", "[2001:db8::7]:0"] {
                let address: SocketAddr = address.parse().unwrap();
                match TcpListener::bind(address) {
                    Ok(listener) => assert_eq!(listener.address().unwrap().ip(), address.ip()),
                    // A machine without IPv6.
                    Err(error) => assert_eq!(errno(&error.source), Some(Errno::AFNOSUPPORT)),
                }
            }
        });
    }

    #[test]
    fn all_addresses_are_those_of_ipv4_where_there_are_no_others() {
        let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 1);
        for (address, error, ipv4) in [
            (any, Errno::AFNOSUPPORT, true),
            (any, Errno::ADDRNOTAVAIL, true),
            (any, Errno::ADDRINUSE, false),
            ("[::1]:1".parse().unwrap(), Errno::AFNOSUPPORT, false),
        ] {
            assert_eq!(has_no_ipv6(address, &error.into()), ipv4, "{address}: {error}");
        }
    }

    #[test]
    fn an_ipv4_peer_of_an_ipv6_socket_is_seen_as_ipv4() {
        runtime().block_on(async {
            // A machine without IPv6 has nothing to test here.
            let Ok(mut listener) = TcpListener::bind("[::]:0".parse().unwrap()) else { return };
            let port = listener.address().unwrap().port();
            let ours = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let Arrival { stream, origin } = listener.accept().await;
            assert_eq!(origin, Origin::Tcp(ours.local_addr().unwrap()));
            let Movable::Tcp(theirs) = stream else { panic!("another transport") };
            assert!(theirs.nodelay().unwrap());
        });
    }
}
