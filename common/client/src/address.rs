//! A host's address: an IP address or a DNS name, and a port.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The port that agents listen on unless told otherwise.
pub const DEFAULT_PORT: u16 = 7433;

/// Longest DNS name, in bytes.
const MAX_NAME: usize = 253;

/// Where a host's agent listens. Written `10.0.0.1:7433`, `[::1]:7433`, `web1.example.org:7433`; the
/// port may be left out when it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

/// A text that is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address such as 10.0.0.1, 10.0.0.1:7433, [::1]:7433 or web1.example.org")]
pub struct BadAddress(String);

impl Address {
    /// The IP address, without brackets, or the DNS name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, which is not 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the host's agent listens by default: at its port, everywhere, in both families. A name says
    /// nothing of its family, and an address only how it is reached from here.
    pub fn listen(&self) -> String {
        format!("[::]:{}", self.port)
    }

    fn is_ipv6(&self) -> bool {
        self.host.contains(':')
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        parse(text).ok_or_else(|| BadAddress(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Address> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
        (ipv6(host)?, port)
    } else if let Some(host) = ipv6(text) {
        (host, None)
    } else {
        let (host, port) =
            text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
        (name_or_ipv4(host)?, port)
    };
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
            port.parse().ok().filter(|&port| port != 0)?
        }
        Some(_) => return None,
    };
    Some(Address { host: host.to_owned(), port })
}

/// An IPv6 address, with a zone if it is link-local (`fe80::1%eth0`).
fn ipv6(text: &str) -> Option<&str> {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let zone = !zone.is_empty() && zone.bytes().all(plain);
    (zone && address.parse::<Ipv6Addr>().is_ok()).then_some(text)
}

fn name_or_ipv4(text: &str) -> Option<&str> {
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        !label.is_empty() && !label.starts_with('-') && label.bytes().all(inner)
    };
    let name =
        text.len() <= MAX_NAME && text.strip_suffix('.').unwrap_or(text).split('.').all(label);
    // What looks like an IPv4 address must be one: 10.0.0.256 is a slip, not a name.
    let numbers = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    (name && (!numbers || text.parse::<Ipv4Addr>().is_ok())).then_some(text)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_ipv6() {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_of_the_contract() {
        for (text, whole, listen) in [
            ("10.0.0.1", "10.0.0.1:7433", "[::]:7433"),
            ("10.0.0.1:22", "10.0.0.1:22", "[::]:22"),
            ("::1", "[::1]:7433", "[::]:7433"),
            ("[::1]", "[::1]:7433", "[::]:7433"),
            ("[fe80::1%eth0]:80", "[fe80::1%eth0]:80", "[::]:80"),
            ("web1.example.org", "web1.example.org:7433", "[::]:7433"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.listen().as_str()), (whole, listen));
        }
        for bad in [
            "",
            ":",
            ":7433",
            "a:",
            "a:b",
            "a:+1",
            "a:65536",
            "10.0.0.256",
            "10.0.0",
            "[::1",
            "[::1]7433",
            "[10.0.0.1]:1",
            "a b",
            "a..b",
            "-a",
            "::1:",
            "http://a",
            "user@a",
            "fe80::1%",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_address_that_parses_prints_as_one_that_parses_alike(text in "[a-z0-9:.%\\[\\]-]{0,24}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
            }
        }
    }
}
