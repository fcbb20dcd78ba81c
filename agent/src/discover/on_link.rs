//! Whether a datagram comes from this network segment, and not through a router.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use lariat_wire::discover::{GROUP_V4, GROUP_V6, HOPS};

/// A network that an interface is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    /// The interface's index.
    pub(super) interface: u32,
    pub(super) network: IpNet,
}

/// What is known of a datagram's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// The address that it was sent to.
    pub(super) to: IpAddr,
    /// The interface that it came in by.
    pub(super) interface: u32,
    /// What is left of its hop limit.
    pub(super) hops: i32,
}

/// Whether a datagram from this address is one that was sent to everybody on a network that this host is attached to.
pub(super) fn is_on_link(from: SocketAddr, way: Way, attached: &[Attached]) -> bool {
    if way.hops != i32::from(HOPS)
        || ![IpAddr::V4(GROUP_V4), IpAddr::V6(GROUP_V6)].contains(&way.to)
    {
        return false;
    }
    let ip = from.ip().to_canonical();
    let is_link_local = matches!(ip, IpAddr::V6(ip) if Ipv6Addr::is_unicast_link_local(&ip));
    let is_there = |one: &Attached| one.interface == way.interface && one.network.contains(&ip);
    from.port() != 0 && (is_link_local || attached.iter().any(is_there))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_group_s_datagrams_of_an_attached_network_count() {
        let attached = [
            Attached { interface: 2, network: "10.0.0.0/24".parse().unwrap() },
            Attached { interface: 3, network: "fd00::/64".parse().unwrap() },
        ];
        let v4 = Way { to: GROUP_V4.into(), interface: 2, hops: 255 };
        let v6 = Way { to: GROUP_V6.into(), interface: 3, hops: 255 };
        let is = |from: &str, way| is_on_link(from.parse().unwrap(), way, &attached);
        assert!(is("10.0.0.9:5000", v4) && is("[fd00::9]:5000", v6) && is("[fe80::9]:5000", v6));
        assert!(is("[::ffff:10.0.0.9]:5000", v4));
        for (from, way) in [
            ("10.0.1.9:5000", v4),
            ("192.0.2.1:5000", v4),
            ("[2001:db8::1]:5000", v6),
            ("10.0.0.9:0", v4),
            ("10.0.0.9:5000", Way { hops: 254, ..v4 }),
            ("10.0.0.9:5000", Way { hops: 64, ..v4 }),
            ("10.0.0.9:5000", Way { interface: 3, ..v4 }),
            ("10.0.0.9:5000", Way { to: "10.0.0.1".parse().unwrap(), ..v4 }),
            ("[fe80::9]:5000", Way { to: "ff02::1".parse().unwrap(), ..v6 }),
        ] {
            assert!(!is(from, way), "{from} {way:?}");
        }
    }
}
