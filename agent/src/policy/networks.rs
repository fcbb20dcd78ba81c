//! Where a key may be used from.

use std::net::IpAddr;

use ipnet::IpNet;

/// Where a controller's bytes come from, as far as rules see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address.
    pub address: IpAddr,
    /// Whether it is one of this host's own addresses.
    pub is_own: bool,
}

/// Whether one of these networks has the peer. Any process on this host, and whatever it forwards, comes from a
/// loopback address or one of the host's own: these must be named literally.
pub fn include(networks: &[IpNet], peer: Peer) -> bool {
    let address = peer.address.to_canonical();
    networks.iter().map(canonical).any(|network| {
        let leads_here = peer.is_own || address.is_loopback();
        network.contains(&address) && (!leads_here || is_literal(network))
    })
}

/// Whether a network of several addresses has no others than loopback, so that it lets nobody in.
pub fn is_of_loopback(network: &IpNet) -> bool {
    let network = canonical(network);
    // In IPv6 it is a single address.
    let is_loopback =
        matches!(network, IpNet::V4(v4) if v4.network().is_loopback() && v4.prefix_len() >= 8);
    is_loopback && !is_literal(network)
}

/// Whether a network is one address.
fn is_literal(network: IpNet) -> bool {
    network.prefix_len() == network.max_prefix_len()
}

/// The network with its IPv4 addresses as such.
fn canonical(network: &IpNet) -> IpNet {
    const MAPPED: u8 = 96;
    match (network.network().to_canonical(), network) {
        (IpAddr::V4(v4), IpNet::V6(v6)) => v6
            .prefix_len()
            .checked_sub(MAPPED)
            .and_then(|prefix| IpNet::new(v4.into(), prefix).ok())
            .unwrap_or(*network),
        _ => *network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(network: &str, address: &str, is_own: bool) -> bool {
        let peer = Peer { address: address.parse().unwrap(), is_own };
        include(&[network.parse().unwrap()], peer)
    }

    #[test]
    fn a_peer_is_in_a_network_by_its_own_address() {
        for (network, address) in [
            ("10.0.0.0/8", "10.1.2.3"),
            ("10.0.0.0/8", "::ffff:10.1.2.3"),
            ("::ffff:10.0.0.0/104", "10.1.2.3"),
            ("10.9.9.9/8", "10.1.2.3"),
            ("0.0.0.0/0", "192.0.2.1"),
            ("fd00::/8", "fd12::1"),
        ] {
            assert!(has(network, address, false), "{network} {address}");
        }
        for (network, address) in [
            ("10.0.0.0/8", "11.0.0.1"),
            ("::/0", "10.0.0.1"),
            ("::/0", "::ffff:10.0.0.1"),
            ("0.0.0.0/0", "fd00::1"),
        ] {
            assert!(!has(network, address, false), "{network} {address}");
        }
        let peer = Peer { address: "10.0.0.1".parse().unwrap(), is_own: false };
        assert!(!include(&[], peer), "an empty list has nobody");
    }

    #[test]
    fn this_host_must_be_named_literally() {
        for (network, address) in [
            ("127.0.0.1/32", "127.0.0.1"),
            ("127.0.0.1/32", "::ffff:127.0.0.1"),
            ("::ffff:127.0.0.1/128", "127.0.0.1"),
            ("::1/128", "::1"),
        ] {
            assert!(has(network, address, true), "{network} {address}");
        }
        for (network, address) in [
            ("0.0.0.0/0", "127.0.0.1"),
            ("126.0.0.0/7", "127.0.0.1"),
            ("127.0.0.0/8", "127.0.0.1"),
            ("127.0.0.0/31", "127.0.0.1"),
            ("127.0.0.0/8", "::ffff:127.0.0.1"),
            ("::ffff:127.0.0.0/104", "127.0.0.1"),
            ("127.0.0.2/32", "127.0.0.1"),
            ("::/0", "::1"),
            ("::/127", "::1"),
        ] {
            assert!(!has(network, address, false), "{network} {address}");
        }
        for (network, of_loopback) in [
            ("127.0.0.0/8", true),
            ("127.1.0.0/16", true),
            ("::ffff:127.0.0.0/104", true),
            ("126.0.0.0/7", false),
            ("127.0.0.1/32", false),
            ("::1/128", false),
            ("::/127", false),
        ] {
            assert_eq!(is_of_loopback(&network.parse().unwrap()), of_loopback, "{network}");
        }
        assert!(has("10.0.0.5/32", "10.0.0.5", true) && has("fd00::5/128", "fd00::5", true));
        assert!(!has("10.0.0.0/8", "10.0.0.5", true) && !has("fd00::/8", "fd00::5", true));
    }
}
