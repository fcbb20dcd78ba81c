//! Where a key may listen on this host: the entries of `listen`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// An entry of `listen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The address; `None` for `*`.
    address: Option<IpAddr>,
    /// The port; `None` for `*`.
    port: Option<u16>,
}

/// A text is no entry of `listen`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no address to listen at, such as 127.0.0.1:8080, [::1]:8080, 0.0.0.0:8080, 127.0.0.1:* or *:8080"
)]
pub struct BadBind(String);

impl Bind {
    /// Whether the entry covers this address. All addresses together are one of their own, which other entries than `*`
    /// name literally.
    pub fn covers(&self, at: SocketAddr) -> bool {
        self.address.is_none_or(|own| own.to_canonical() == at.ip().to_canonical())
            && self.port.is_none_or(|own| own == at.port())
    }
}

impl FromStr for Bind {
    type Err = BadBind;

    fn from_str(text: &str) -> Result<Self, BadBind> {
        parse(text).ok_or_else(|| BadBind(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Bind> {
    let (address, port) = text.rsplit_once(':')?;
    let port = match port {
        "*" => None,
        port => Some(port.parse().ok().filter(|&port| port != 0)?),
    };
    let bracketed = address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
    let address = match address {
        "*" => None,
        address => Some(bracketed.unwrap_or(address).parse::<IpAddr>().ok()?),
    };
    // With a port behind it, an IPv6 address needs its brackets.
    let is_plain = address.is_none_or(|ip| ip.is_ipv6() == bracketed.is_some());
    is_plain.then_some(Bind { address, port })
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            None => f.write_str("*")?,
            Some(IpAddr::V4(address)) => address.fmt(f)?,
            Some(IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => f.write_str(":*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_entry_covers_the_address_that_it_names() {
        let covers =
            |bind: &str, at: &str| bind.parse::<Bind>().unwrap().covers(at.parse().unwrap());
        for (bind, at) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("127.0.0.1:80", "[::ffff:127.0.0.1]:80"),
            ("127.0.0.1:*", "127.0.0.1:0"),
            ("[::1]:80", "[::1]:80"),
            ("*:80", "0.0.0.0:80"),
            ("*:*", "[::]:1"),
            ("0.0.0.0:80", "0.0.0.0:80"),
        ] {
            assert!(covers(bind, at), "{bind} {at}");
        }
        for (bind, at) in [
            ("127.0.0.1:80", "127.0.0.1:81"),
            ("127.0.0.1:80", "127.0.0.1:0"),
            ("127.0.0.1:80", "127.0.0.2:80"),
            ("127.0.0.1:80", "0.0.0.0:80"),
            ("0.0.0.0:80", "10.0.0.1:80"),
            ("0.0.0.0:80", "[::]:80"),
        ] {
            assert!(!covers(bind, at), "{bind} {at}");
        }
        for bad in [
            "",
            ":80",
            "80",
            "127.0.0.1",
            "127.0.0.1:0",
            "localhost:80",
            "::1:80",
            "[10.0.0.1]:80",
            "10.0.0.0/8:80",
        ] {
            assert!(bad.parse::<Bind>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_entry_that_parses_prints_as_one_that_parses_alike(text in "[0-9:.*\\[\\]]{0,16}") {
            if let Ok(bind) = text.parse::<Bind>() {
                prop_assert_eq!(bind.to_string().parse::<Bind>(), Ok(bind));
            }
        }
    }
}
