//! Finds the fleet's hosts on the local network: a probe goes out on every interface, and each answer is verified.

mod found;

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use lariat_base::os_error::io_error;
use lariat_base::secret::random;
use lariat_client::Trust;
use lariat_wire::discover::{GROUP_V4, GROUP_V6, HOPS, MAX_ANSWER, PORT, Probe, tag};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::{if_indextoname, if_nametoindex};
use nix::sys::socket::SockaddrIn;
use rustls_pki_types::CertificateDer;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::sleep_until;

use crate::error::CliError;
use crate::inventory::Inventory;
pub(crate) use found::Found;

/// When the probe is sent again, for a datagram that was lost.
const AGAIN: Duration = Duration::from_millis(700);

/// Longest datagram that is read: one byte more than any answer has.
const BUFFER: usize = MAX_ANSWER + 1;

/// Asks, and takes answers in until `limit` has passed.
pub(crate) async fn discover(
    ca: &CertificateDer<'static>,
    inventory: &Inventory,
    limit: Duration,
) -> Result<Found, CliError> {
    let trust = Trust::new(ca.clone())?;
    let nonce = random()?;
    let probe = Probe { tag: tag(ca), nonce }.encode();
    let until = tokio::time::Instant::from_std(Instant::now() + limit);
    let sockets = [socket(Domain::IPV4), socket(Domain::IPV6)];
    if let [Err(error), Err(_)] = &sockets {
        return Err(CliError::new(format!("open a UDP socket: {}", io_error(error))));
    }
    let [v4, v6] = sockets.map(Result::ok);
    let mut found = Found::default();
    let ask = async {
        loop {
            let sent = send(&probe, v4.as_ref(), v6.as_ref()).await;
            if sent == 0 {
                return Err(CliError::new("no network interface takes a probe")
                    .next("is this machine on a network? ip address lists its interfaces"));
            }
            let again = tokio::time::Instant::now() + AGAIN;
            if again >= until {
                sleep_until(until).await;
                return Ok(());
            }
            sleep_until(again).await;
        }
    };
    let mut take = |datagram: &[u8], from: SocketAddr| {
        let interface = match from {
            SocketAddr::V6(v6) => if_indextoname(v6.scope_id()).ok(),
            SocketAddr::V4(_) => None,
        };
        let interface = interface.as_ref().and_then(|name| name.to_str().ok());
        found.take(datagram, (from, interface), (&trust, inventory, &nonce));
    };
    let listen = async {
        let (mut first, mut second) = ([0; BUFFER], [0; BUFFER]);
        loop {
            let came = tokio::select! {
                came = receive(v4.as_ref(), &mut first) => came.map(|(len, from)| (&first[..len], from)),
                came = receive(v6.as_ref(), &mut second) => came.map(|(len, from)| (&second[..len], from)),
            };
            // An error of a datagram that was sent before is none of this.
            if let Ok((datagram, from)) = came {
                take(datagram, from);
            }
        }
    };
    tokio::select! {
        asked = ask => asked?,
        never = listen => never,
    }
    Ok(found)
}

fn socket(domain: Domain) -> io::Result<UdpSocket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    let any: IpAddr = if domain == Domain::IPV6 {
        socket.set_only_v6(true)?;
        socket.set_multicast_hops_v6(u32::from(HOPS))?;
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        socket.set_multicast_ttl_v4(u32::from(HOPS))?;
        std::net::Ipv4Addr::UNSPECIFIED.into()
    };
    socket.bind(&SocketAddr::new(any, 0).into())?;
    UdpSocket::from_std(socket.into())
}

async fn receive(
    socket: Option<&UdpSocket>,
    buffer: &mut [u8; BUFFER],
) -> io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(buffer).await,
        None => std::future::pending().await,
    }
}

/// Sends a probe on every interface. Returns how many were sent.
async fn send(probe: &[u8], v4: Option<&UdpSocket>, v6: Option<&UdpSocket>) -> usize {
    let mut sent = 0;
    let interfaces = getifaddrs().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    let mut asked = Vec::new();
    for interface in interfaces {
        let Some(address) = interface.address else { continue };
        let own = address.as_sockaddr_in().map(SockaddrIn::ip);
        let (socket, to) = if let (Some(own), Some(v4)) = (own, v4) {
            if SockRef::from(v4).set_multicast_if_v4(&own).is_err() {
                continue;
            }
            (v4, SocketAddr::new(GROUP_V4.into(), PORT))
        } else if let (Some(_), Some(v6)) = (address.as_sockaddr_in6(), v6) {
            let Ok(index) = if_nametoindex(interface.interface_name.as_str()) else { continue };
            if asked.contains(&index) {
                continue;
            }
            asked.push(index);
            (v6, SocketAddrV6::new(GROUP_V6, PORT, 0, index).into())
        } else {
            continue;
        };
        // An interface that is down takes none.
        sent += usize::from(socket.send_to(probe, to).await.is_ok());
    }
    sent
}
