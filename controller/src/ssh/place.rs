//! Where ssh reaches a host: `[USER@]ADDR[:PORT]`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use lariat_client::Address;

/// Longest name of a user, in bytes.
const MAX_USER: usize = 64;

/// Where ssh reaches a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The user there, unless ssh knows.
    pub(crate) user: Option<String>,
    /// An address, or a name of ssh's configuration.
    pub(crate) host: String,
    /// ssh's port, unless ssh knows.
    pub(crate) port: Option<u16>,
}

/// A text is not a [`Place`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not what ssh could reach, such as root@10.0.0.1, web1.example.org:22 or [::1]:22"
)]
pub(crate) struct BadPlace(String);

impl FromStr for Place {
    type Err = BadPlace;

    fn from_str(text: &str) -> Result<Self, BadPlace> {
        parse(text).ok_or_else(|| BadPlace(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Place> {
    let (user, place) = text.rsplit_once('@').map_or((None, text), |(user, at)| (Some(user), at));
    let is_letter = |b: u8| b.is_ascii_alphanumeric() || b"._@+\\-".contains(&b);
    let is_user = |user: &str| {
        let first = user.bytes().next();
        user.len() <= MAX_USER
            && user.bytes().all(is_letter)
            && first.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if user.is_some_and(|user| !is_user(user)) {
        return None;
    }
    // Its alphabet is that of addresses, and none begins with a dash.
    let address: Address = place.parse().ok()?;
    let has_port = match place.rsplit_once(']') {
        Some((_, port)) => !port.is_empty(),
        None => place.contains(':') && !address.host().contains(':'),
    };
    Some(Place {
        user: user.map(ToOwned::to_owned),
        host: address.host().to_owned(),
        port: has_port.then(|| address.port()),
    })
}

impl Place {
    /// Where the agent is to be reached, if nothing else is said.
    pub(crate) fn agent(&self) -> Option<Address> {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
            .parse()
            .ok()
    }

    /// Whether it is an IP address, and no name.
    pub(crate) fn is_ip(&self) -> bool {
        let address = self.host.split('%').next().unwrap_or_default();
        address.parse::<IpAddr>().is_ok()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match (self.host.contains(':'), self.port) {
            (true, Some(port)) => write!(f, "[{}]:{port}", self.host),
            (false, Some(port)) => write!(f, "{}:{port}", self.host),
            (_, None) => f.write_str(&self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_ssh_and_never_its_options() {
        for (text, user, host, port, agent) in [
            ("web1", None, "web1", None, "web1:7433"),
            ("root@10.0.0.1", Some("root"), "10.0.0.1", None, "10.0.0.1:7433"),
            (
                "a@b@web1.example.org:2222",
                Some("a@b"),
                "web1.example.org",
                Some(2222),
                "web1.example.org:7433",
            ),
            ("[::1]:22", None, "::1", Some(22), "[::1]:7433"),
            ("x@fd00::7", Some("x"), "fd00::7", None, "[fd00::7]:7433"),
        ] {
            let place: Place = text.parse().unwrap();
            let Place { user: its, host: at, port: on } = &place;
            assert_eq!((its.as_deref(), at.as_str(), *on), (user, host, port), "{text}");
            assert_eq!(place.agent().unwrap().to_string(), agent);
            assert_eq!(place.to_string(), text);
        }
        for bad in [
            "",
            "-oProxyCommand=x",
            "-l@web1",
            "root@-x",
            "@web1",
            "a b@c",
            "web1:0",
            "we b",
            "a$b@c",
            "x@",
        ] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}
