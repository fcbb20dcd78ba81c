//! The sockets that probes arrive at: one for IPv4, one for IPv6, in the groups of every interface.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use lariat_wire::discover::{GROUP_V4, GROUP_V6, HOPS, PORT, PROBE_LEN};
use nix::cmsg_space;
use nix::ifaddrs::getifaddrs;
use nix::libc::{in_pktinfo, in6_pktinfo};
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::on_link::{Attached, Way};

/// A socket for probes of one family.
pub(super) struct Probes {
    socket: Socket,
    is_v6: bool,
}

impl AsFd for Probes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Probes {
    /// Sockets of the families that this host has.
    pub(super) fn open() -> io::Result<Vec<Self>> {
        let both = [Self::bound(false), Self::bound(true)];
        let (open, failed): (Vec<_>, Vec<_>) = both.into_iter().partition(Result::is_ok);
        match (open.is_empty(), failed.into_iter().next()) {
            (true, Some(failed)) => failed.map(|one| vec![one]),
            _ => Ok(open.into_iter().flatten().collect()),
        }
    }

    fn bound(is_v6: bool) -> io::Result<Self> {
        let domain = if is_v6 { Domain::IPV6 } else { Domain::IPV4 };
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        // Agents of several hosts on one machine all get what is sent to a group.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        let any: IpAddr =
            if is_v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        if is_v6 {
            socket.set_only_v6(true)?;
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
            setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
            socket.set_unicast_hops_v6(u32::from(HOPS))?;
        } else {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
            setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
            socket.set_ttl_v4(u32::from(HOPS))?;
        }
        socket.bind(&SocketAddr::new(any, PORT).into())?;
        Ok(Self { socket, is_v6 })
    }

    /// Joins the group on these interfaces. On one where that was done it has no effect, and on one that has gone, or can't
    /// take part, there is nothing to be heard.
    pub(super) fn join(&self, interfaces: &[u32]) {
        for &interface in interfaces {
            let _ = if self.is_v6 {
                self.socket.join_multicast_v6(&GROUP_V6, interface)
            } else {
                let interface = InterfaceIndexOrAddress::Index(interface);
                self.socket.join_multicast_v4_n(&GROUP_V4, &interface)
            };
        }
    }

    /// The next datagram that is there: its bytes in `buffer`, where it comes from, and how it came.
    pub(super) fn next(
        &self,
        buffer: &mut [u8; PROBE_LEN + 1],
    ) -> io::Result<(usize, SocketAddr, Option<Way>)> {
        let mut control = cmsg_space!(in6_pktinfo, in_pktinfo, i32);
        let mut parts = [IoSliceMut::new(buffer)];
        let received = recvmsg::<SockaddrStorage>(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::empty(),
        )?;
        let from = received.address.as_ref().and_then(address);
        let from = from.ok_or(io::ErrorKind::InvalidData)?;
        let (mut to, mut hops) = (None, None);
        for message in received.cmsgs()? {
            match message {
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    let address = Ipv4Addr::from_bits(u32::from_be(info.ipi_addr.s_addr));
                    to = Some((IpAddr::V4(address), u32::try_from(info.ipi_ifindex).ok()));
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    to = Some((IpAddr::V6(address), Some(info.ipi6_ifindex)));
                }
                ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => {
                    hops = Some(ttl);
                }
                _ => {}
            }
        }
        let way = to
            .zip(hops)
            .and_then(|((to, interface), hops)| Some(Way { to, interface: interface?, hops }));
        Ok((received.bytes, from, way))
    }

    /// Sends an answer.
    pub(super) fn answer(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        self.socket.send_to(datagram, &to.into()).map(drop)
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
}

/// The networks that this host is attached to now.
pub(super) fn attached() -> Vec<Attached> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    all.filter_map(|one| {
        let interface = if_nametoindex(one.interface_name.as_str()).ok()?;
        let (own, mask) = (address(&one.address?)?, address(&one.netmask?)?);
        let network = match (own.ip(), mask.ip()) {
            (IpAddr::V4(ip), IpAddr::V4(mask)) => {
                IpNet::V4(Ipv4Net::with_netmask(ip, mask).ok()?.trunc())
            }
            (IpAddr::V6(ip), IpAddr::V6(mask)) => {
                IpNet::V6(Ipv6Net::with_netmask(ip, mask).ok()?.trunc())
            }
            _ => return None,
        };
        Some(Attached { interface, network })
    })
    .collect()
}
