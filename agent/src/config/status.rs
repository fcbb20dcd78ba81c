//! Where the status page is served.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

/// The status page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Status {
    /// Where it is served, if at all.
    #[serde(deserialize_with = "place")]
    pub listen: Option<StatusPlace>,
}

/// Where the status page is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusPlace {
    /// On an address that only this host reaches.
    Loopback(SocketAddr),
    /// On a unix socket.
    Socket(PathBuf),
}

impl Status {
    /// Resolves a path that is relative to the configuration's directory.
    pub(super) fn resolve(&mut self, directory: &Path) {
        if let Some(StatusPlace::Socket(path)) = &mut self.listen {
            *path = directory.join(&*path);
        }
    }
}

impl fmt::Display for StatusPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(address) => address.fmt(f),
            Self::Socket(path) => path.display().fmt(f),
        }
    }
}

impl StatusPlace {
    fn parse(text: &str) -> Result<Self, String> {
        let is_socket = Path::new(text).extension().is_some_and(|end| end == "sock");
        if text.contains('/') || is_socket {
            return Ok(Self::Socket(text.into()));
        }
        let address: SocketAddr = text.parse().map_err(|_| {
            format!(
                "{text:?} is neither an address such as 127.0.0.1:9433 nor the path of a socket"
            )
        })?;
        if !address.ip().is_loopback() {
            return Err(format!(
                "{text} can be reached from elsewhere; it is served on 127.0.0.1, [::1] or a socket only"
            ));
        }
        Ok(Self::Loopback(address))
    }
}

fn place<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<StatusPlace>, D::Error> {
    let text = String::deserialize(deserializer)?;
    StatusPlace::parse(&text).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_reaches_it() {
        let loopback = |text: &str| Ok(StatusPlace::Loopback(text.parse().unwrap()));
        for text in ["127.0.0.1:9433", "127.9.0.1:0", "[::1]:9433"] {
            assert_eq!(StatusPlace::parse(text), loopback(text));
        }
        for text in ["./s", "status.sock", "/run/s"] {
            assert_eq!(StatusPlace::parse(text), Ok(StatusPlace::Socket(text.into())));
        }
        for text in ["0.0.0.0:9433", "[::]:9433", "10.0.0.1:9433", "[::ffff:127.0.0.1]:9433"] {
            assert!(StatusPlace::parse(text).unwrap_err().contains("from elsewhere"), "{text}");
        }
        for text in ["", "9433", "localhost:9433", "127.0.0.1"] {
            assert!(StatusPlace::parse(text).unwrap_err().contains("is neither"), "{text}");
        }
    }
}
