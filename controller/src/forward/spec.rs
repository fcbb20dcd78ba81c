//! What `-L`, `-R` and `-D` name, as ssh's users write it. No I/O.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use lariat_wire::protocol::connect::{Connect, ConnectUnix};
use lariat_wire::protocol::listen::{self, Listen};
use lariat_wire::protocol::request::{ConnectRequest, Request};

/// Where connections are accepted on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Here {
    /// At an address.
    Tcp(SocketAddr),
    /// At a unix socket.
    Unix(PathBuf),
}

/// What is connected to, on this machine or from the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `ADDR:PORT`
    Tcp {
        /// An IP address without brackets, or a name.
        host: String,
        /// The port.
        port: u16,
    },
    /// A unix socket.
    Unix(String),
}

/// `-L`: from this machine to a place that the host reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Local {
    /// Where connections are accepted.
    pub(crate) here: Here,
    /// Where they go.
    pub(crate) to: Place,
}

/// `-R`: from a port of the host to a place that this machine reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// Where the host listens.
    pub(crate) there: SocketAddr,
    /// Where connections go.
    pub(crate) to: Place,
}

/// `-D`: from this machine to wherever its clients ask, by SOCKS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dynamic(pub(crate) SocketAddr);

/// A text is not what an option takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {form}")]
pub(crate) struct BadSpec {
    text: String,
    form: &'static str,
}

impl Remote {
    /// The request by which the host listens.
    pub(crate) fn request(&self) -> Listen {
        Listen { address: self.there.ip().to_string(), port: self.there.port() }
    }
}

impl Place {
    /// The request by which the host connects to it, as `user` if that matters.
    pub(super) fn request(&self, user: Option<&str>) -> ConnectRequest {
        match self {
            Self::Tcp { host, port } => ConnectRequest::Connect(Self::connect(host, *port)),
            Self::Unix(path) => ConnectRequest::ConnectUnix(Self::connect_unix(path, user)),
        }
    }

    pub(super) fn connect(host: &str, port: u16) -> Connect {
        Connect { parked: None, host: host.to_owned(), port, bare: false }
    }

    pub(super) fn connect_unix(path: &str, user: Option<&str>) -> ConnectUnix {
        ConnectUnix { path: path.into(), user: user.map(ToOwned::to_owned) }
    }

    /// Whether a host can be asked to connect to it.
    pub(crate) fn is_valid(&self) -> bool {
        Request::Connect(self.request(None)).check().is_ok()
    }

    fn parse(fields: &[&str]) -> Option<Self> {
        let place = match fields {
            [path] if path.starts_with('/') => Self::Unix((*path).to_owned()),
            [host, port] => Self::Tcp { host: unbracketed(host)?.to_owned(), port: number(port)? },
            _ => return None,
        };
        place.is_valid().then_some(place)
    }
}

impl Here {
    fn parse(fields: &[&str]) -> Option<Self> {
        match fields {
            [path] if path.starts_with('/') => Some(Self::Unix((*path).into())),
            fields => listening(fields).map(Self::Tcp),
        }
    }
}

/// `[BIND:]PORT`, where a port of 0 is one that the system picks.
fn listening(fields: &[&str]) -> Option<SocketAddr> {
    let (bind, port) = match fields {
        [port] => (IpAddr::from(Ipv4Addr::LOCALHOST), port),
        [bind, port] => (self::bind(bind)?, port),
        _ => return None,
    };
    Some(SocketAddr::new(bind, port.parse().ok()?))
}

/// An address to listen at, or a word for one.
fn bind(text: &str) -> Option<IpAddr> {
    unbracketed(listen::address(text))?.parse().ok()
}

fn number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|&port| port != 0)
}

/// Without the brackets that an IPv6 address needs here.
fn unbracketed(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match inside {
        Some(address) => address.parse::<Ipv6Addr>().is_ok().then_some(address),
        None => (!text.contains(['[', ']'])).then_some(text),
    }
}

/// The parts between the colons, but for those within brackets.
fn fields(text: &str) -> Vec<&str> {
    let mut inside = false;
    text.split(|c: char| {
        inside = (inside || c == '[') && c != ']';
        c == ':' && !inside
    })
    .collect()
}

/// Splits into the fields before and behind, where the last ones are a place.
fn split<'a, 'f>(fields: &'f [&'a str]) -> Option<(&'f [&'a str], &'f [&'a str])> {
    let behind = if fields.last()?.starts_with('/') { 1 } else { 2 };
    fields.split_at_checked(fields.len().checked_sub(behind)?)
}

impl FromStr for Local {
    type Err = BadSpec;

    fn from_str(text: &str) -> Result<Self, BadSpec> {
        let parse = || {
            let fields = fields(text);
            let (here, to) = split(&fields)?;
            Some(Self { here: Here::parse(here)?, to: Place::parse(to)? })
        };
        let form = "[BIND:]PORT:ADDR:PORT, where a socket's path may stand on either side";
        parse().ok_or_else(|| BadSpec { text: text.to_owned(), form })
    }
}

impl FromStr for Remote {
    type Err = BadSpec;

    fn from_str(text: &str) -> Result<Self, BadSpec> {
        let parse = || {
            let fields = fields(text);
            let (there, to) = split(&fields)?;
            Some(Self { there: listening(there)?, to: Place::parse(to)? })
        };
        let form = "[BIND:]PORT:ADDR:PORT, where a socket's path may stand for ADDR:PORT";
        parse().ok_or_else(|| BadSpec { text: text.to_owned(), form })
    }
}

impl FromStr for Dynamic {
    type Err = BadSpec;

    fn from_str(text: &str) -> Result<Self, BadSpec> {
        let form = "[BIND:]PORT";
        listening(&fields(text)).map(Self).ok_or_else(|| BadSpec { text: text.to_owned(), form })
    }
}

impl FromStr for Place {
    type Err = BadSpec;

    fn from_str(text: &str) -> Result<Self, BadSpec> {
        let form = "ADDR:PORT or the path of a socket";
        Self::parse(&fields(text)).ok_or_else(|| BadSpec { text: text.to_owned(), form })
    }
}

impl fmt::Display for Here {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => f.write_str(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn local(text: &str) -> Option<String> {
        text.parse::<Local>().ok().map(|Local { here, to }| format!("{here} {to}"))
    }

    #[test]
    fn what_is_named_is_written_as_for_ssh() {
        for (text, expected) in [
            ("80:db:5432", "127.0.0.1:80 db:5432"),
            ("0:db:5432", "127.0.0.1:0 db:5432"),
            ("localhost:80:10.0.0.5:22", "127.0.0.1:80 10.0.0.5:22"),
            ("*:80:db:22", "[::]:80 db:22"),
            (":80:db:22", "[::]:80 db:22"),
            ("[::1]:80:[fd00::5]:22", "[::1]:80 [fd00::5]:22"),
            ("80:/run/db.sock", "127.0.0.1:80 /run/db.sock"),
            ("127.0.0.2:80:/run/db.sock", "127.0.0.2:80 /run/db.sock"),
            ("/tmp/a:db:22", "/tmp/a db:22"),
            ("/tmp/a:/run/b", "/tmp/a /run/b"),
        ] {
            assert_eq!(local(text).as_deref(), Some(expected), "{text}");
        }
        for bad in [
            "",
            "80",
            "80:db",
            "db:22",
            "80:db:0",
            "80:db:x",
            "x:db:22",
            "80:-db:22",
            "80::22",
            "80:a b:22",
            "99999:db:22",
            "::1:80:db:22",
            "[::1:80:db:22",
            "80:[db]:22",
            "name:80:db:22",
            "/tmp/a",
            "1:2:3:4:5",
            "80:/",
            "a:/x:/y",
        ] {
            assert_eq!(local(bad), None, "{bad}");
        }
        let dynamic = |text: &str| text.parse::<Dynamic>().ok().map(|at| at.0.to_string());
        assert_eq!(dynamic("1080").as_deref(), Some("127.0.0.1:1080"));
        assert_eq!(dynamic("[::1]:1080").as_deref(), Some("[::1]:1080"));
        let remote = |text: &str| {
            let remote = text.parse::<Remote>().ok();
            remote.map(|Remote { there, to }| format!("{there} {to}"))
        };
        assert_eq!(remote("8080:localhost:80").as_deref(), Some("127.0.0.1:8080 localhost:80"));
        assert_eq!(remote("*:0:/run/x").as_deref(), Some("[::]:0 /run/x"));
        for bad in ["8080", "/tmp/x:a:80", "a:80:b:80", "80:b:0"] {
            assert_eq!(remote(bad), None, "{bad}");
        }
        for bad in ["", "x", "a:b:1", "/tmp/x"] {
            assert_eq!(dynamic(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_place_that_prints_as_itself_or_an_error(text in "[-a-z0-9:./\\[\\]]{0,16}") {
            let _ = text.parse::<Local>();
            if let Ok(place) = text.parse::<Place>() {
                prop_assert_eq!(place.to_string().parse::<Place>(), Ok(place));
            }
        }
    }
}
