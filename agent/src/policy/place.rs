//! Where a key may connect to through this host: the entries of `connect`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use lariat_base::escape::escape;
use lariat_base::name::HostName;

/// An entry of `connect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `ADDR:PORT`.
    Tcp {
        /// The hosts.
        host: PlaceHost,
        /// The port; `None` for `*`.
        port: Option<u16>,
    },
    /// A unix socket, by its absolute path.
    Unix(Vec<u8>),
    /// `host:NAME`, a host that has parked a connection here.
    Parked(HostName),
}

/// The hosts of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaceHost {
    /// `*`
    Any,
    /// A network, or one address.
    Network(IpNet),
    /// A name, as it is asked for.
    Name(String),
}

/// An address to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The address. An IPv4 address is one, even if it came mapped into IPv6.
    pub address: SocketAddr,
    /// Whether it leads to this host, or to what only this host should reach: loopback, link-local, multicast, or one
    /// of the host's own. Only an entry that names it literally covers it.
    pub is_inner: bool,
}

/// A text is no entry of `connect`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no place to connect to, such as 10.0.0.5:22, 10.0.0.0/8:7433, [fd00::/8]:22, db.example:5432, *:7433, host:web3 or /run/db.sock"
)]
pub struct BadPlace(String);

impl Reached {
    /// An address; `is_own` tells whether it is one of this host's.
    pub fn new(address: SocketAddr, is_own: impl FnOnce(SocketAddr) -> bool) -> Self {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let is_inner = match address.ip() {
            IpAddr::V4(v4) => {
                v4.is_loopback()
                    || v4.is_link_local()
                    || v4.is_multicast()
                    || v4.is_broadcast()
                    || v4.octets()[0] == 0
            }
            IpAddr::V6(v6) => {
                v6.is_loopback()
                    || v6.is_unicast_link_local()
                    || v6.is_multicast()
                    || v6.is_unspecified()
            }
        };
        Self { address, is_inner: is_inner || is_own(address) }
    }
}

impl Place {
    /// Whether the entry could cover `host` and `port`, whatever the host's addresses are.
    pub fn may_cover(&self, host: &str, port: u16) -> bool {
        match self {
            Self::Tcp { host: PlaceHost::Name(name), port: own } => {
                own.is_none_or(|own| own == port) && is_same(name, host)
            }
            Self::Tcp { port: own, .. } => own.is_none_or(|own| own == port),
            Self::Unix(_) | Self::Parked(_) => false,
        }
    }

    /// Whether the entry covers this address of what was asked for as `host`.
    pub fn covers(&self, host: &str, to: Reached) -> bool {
        let Self::Tcp { host: own, port } = self else { return false };
        let ip = to.address.ip();
        port.is_none_or(|port| port == to.address.port())
            && match own {
                PlaceHost::Any => !to.is_inner,
                PlaceHost::Network(network) => {
                    let is_literal = network.prefix_len() == network.max_prefix_len();
                    network.contains(&ip) && (is_literal || !to.is_inner)
                }
                PlaceHost::Name(name) => {
                    // What a name resolves to is not in this host's hands; what `localhost` is, is.
                    let is_local = is_same(name, "localhost") && ip.is_loopback();
                    is_same(name, host) && (is_local || !to.is_inner)
                }
            }
    }

    /// Whether the entry covers no address at all, because it is a network of addresses that only count literally.
    pub fn is_never(&self) -> bool {
        let Self::Tcp { host: PlaceHost::Network(network), .. } = self else { return false };
        let is_inner = |ip| Reached::new(SocketAddr::new(ip, 1), |_| false).is_inner;
        network.prefix_len() < network.max_prefix_len()
            && is_inner(network.network())
            && is_inner(network.broadcast())
    }

    /// Whether the entry is the connections that this host has parked.
    pub fn is_parked(&self, host: &HostName) -> bool {
        matches!(self, Self::Parked(own) if own == host)
    }

    /// Whether the entry is this unix socket.
    pub fn is_socket(&self, path: &[u8]) -> bool {
        matches!(self, Self::Unix(own) if own == path)
    }
}

/// Whether two names are the same in DNS.
fn is_same(one: &str, other: &str) -> bool {
    let bare = |name: &str| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    bare(one) == bare(other)
}

impl FromStr for Place {
    type Err = BadPlace;

    fn from_str(text: &str) -> Result<Self, BadPlace> {
        parse(text).ok_or_else(|| BadPlace(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Place> {
    if let Some(below) = text.strip_prefix('/') {
        let is_plain = |part: &str| !matches!(part, "" | "." | "..");
        return below.split('/').all(is_plain).then(|| Place::Unix(text.into()));
    }
    if let Some(host) = text.strip_prefix("host:") {
        return host.parse().ok().map(Place::Parked);
    }
    let (host, port) = text.rsplit_once(':')?;
    let port = match port {
        "*" => None,
        port => Some(port.parse().ok().filter(|&port| port != 0)?),
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let network = bracketed.unwrap_or(host);
    let address = || network.parse::<IpAddr>().ok().map(IpNet::from);
    let network = network.parse::<IpNet>().ok().or_else(address);
    let host = match (host, network) {
        ("*", _) => PlaceHost::Any,
        // With a port behind it, an IPv6 address needs its brackets.
        (_, Some(network)) if bracketed.is_some() == matches!(network, IpNet::V6(_)) => {
            PlaceHost::Network(network.trunc())
        }
        (name, None) if is_name(name) => PlaceHost::Name(name.to_owned()),
        _ => return None,
    };
    Some(Place::Tcp { host, port })
}

fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        !label.is_empty() && !label.starts_with('-') && label.bytes().all(plain)
    };
    let is_number = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    !is_number && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => {
                match host {
                    PlaceHost::Any => f.write_str("*")?,
                    PlaceHost::Name(name) => f.write_str(name)?,
                    PlaceHost::Network(network) => {
                        let is_literal = network.prefix_len() == network.max_prefix_len();
                        let host = if is_literal {
                            network.addr().to_string()
                        } else {
                            network.to_string()
                        };
                        if matches!(network, IpNet::V6(_)) {
                            write!(f, "[{host}]")?;
                        } else {
                            f.write_str(&host)?;
                        }
                    }
                }
                match port {
                    Some(port) => write!(f, ":{port}"),
                    None => f.write_str(":*"),
                }
            }
            Self::Unix(path) => f.write_str(&escape(path)),
            Self::Parked(host) => write!(f, "host:{host}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn covers(place: &str, host: &str, address: &str) -> bool {
        let place: Place = place.parse().unwrap();
        let own: IpAddr = "10.0.0.9".parse().unwrap();
        let to = Reached::new(address.parse().unwrap(), |address| address.ip() == own);
        place.covers(host, to)
    }

    #[test]
    fn an_entry_covers_addresses_and_ports() {
        for (place, host, address) in [
            ("10.0.0.5:22", "10.0.0.5", "10.0.0.5:22"),
            ("10.0.0.5:22", "10.0.0.5", "[::ffff:10.0.0.5]:22"),
            ("10.0.0.5:*", "db", "10.0.0.5:5432"),
            ("10.0.0.0/8:22", "x", "10.1.2.3:22"),
            ("*:22", "x", "192.0.2.1:22"),
            ("[fd00::/8]:22", "x", "[fd12::1]:22"),
            ("db.example:5432", "DB.example.", "192.0.2.1:5432"),
        ] {
            assert!(covers(place, host, address), "{place} {host} {address}");
        }
        for (place, host, address) in [
            ("10.0.0.5:22", "10.0.0.5", "10.0.0.5:23"),
            ("10.0.0.5:22", "10.0.0.5", "10.0.0.6:22"),
            ("db.example:5432", "other.example", "192.0.2.1:5432"),
            ("/run/db", "/run/db", "192.0.2.1:1"),
            ("host:web3", "web3", "192.0.2.1:7433"),
        ] {
            assert!(!covers(place, host, address), "{place} {host} {address}");
        }
    }

    /// The services of a host that trust whoever is on it, and those of its network segment.
    #[test]
    fn what_leads_to_the_host_itself_is_named_literally() {
        for address in [
            "127.0.0.1:80",
            "127.1.2.3:80",
            "[::1]:80",
            "[::ffff:127.0.0.1]:80",
            "0.0.0.0:80",
            "[::]:80",
            "169.254.169.254:80",
            "[fe80::1]:80",
            "224.0.0.1:80",
            "[ff02::1]:80",
            "255.255.255.255:80",
            "10.0.0.9:80",
        ] {
            for place in ["*:80", "*:*", "0.0.0.0/0:80", "[::/0]:80", "127.0.0.0/8:80", "evil:80"] {
                assert!(!covers(place, "evil", address), "{place} {address}");
            }
        }
        assert!(covers("127.0.0.1:80", "localhost", "127.0.0.1:80"));
        assert!(covers("127.0.0.1:80", "localhost", "[::ffff:127.0.0.1]:80"));
        assert!(covers("localhost:80", "localhost", "[::1]:80"));
        assert!(!covers("localhost:80", "localhost", "169.254.169.254:80"));
        assert!(covers("169.254.169.254:80", "metadata", "169.254.169.254:80"));
        assert!(covers("10.0.0.9:80", "x", "10.0.0.9:80") && covers("[::1]:80", "x", "[::1]:80"));
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for bad in [
            "",
            ":",
            "10.0.0.5",
            "10.0.0.5:0",
            "10.0.0.5:x",
            "10.0.0.256:1",
            "::1:22",
            "[::1]",
            "[10.0.0.1]:22",
            "fd00::/8:22",
            "-x:1",
            "a b:1",
            "a..b:1",
            "/",
            "/run/../x",
            "/run//x",
            "host:",
            "host:All",
            "10.0.0.0/33:1",
        ] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
        let unix: Place = "/run/db.sock".parse().unwrap();
        assert!(unix.is_socket(b"/run/db.sock") && !unix.is_socket(b"/run/db"));
        assert!("*:22".parse::<Place>().unwrap().may_cover("x", 22));
        assert!(!"y:22".parse::<Place>().unwrap().may_cover("x", 22));
    }

    proptest! {
        #[test]
        fn an_entry_that_parses_prints_as_one_that_parses_alike(text in "[a-z0-9:.*/\\[\\]-]{0,24}") {
            if let Ok(place) = text.parse::<Place>() {
                prop_assert_eq!(place.to_string().parse::<Place>(), Ok(place));
            }
        }
    }
}
