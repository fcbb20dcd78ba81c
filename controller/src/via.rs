//! `via`: the gateways that the connections to a host go through.

use std::fmt;
use std::str::FromStr;

use lariat_base::name::HostName;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use crate::ssh::Place;

/// What `-J` or `via` in the inventory names. It is empty for `none`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Via(pub(crate) Vec<Leg>);

/// One gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Leg {
    /// A host of the fleet.
    Host(HostName),
    /// A machine that the operator's ssh reaches.
    Ssh(Place),
}

/// A text is no [`Via`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no gateway, such as gw1, ssh:root@bastion:22 or none")]
pub(crate) struct BadVia(String);

impl FromStr for Leg {
    type Err = BadVia;

    fn from_str(text: &str) -> Result<Self, BadVia> {
        let leg = match text.strip_prefix("ssh:") {
            Some(place) => place.parse().ok().map(Self::Ssh),
            None if text == "none" => None,
            None => text.parse().ok().map(Self::Host),
        };
        leg.ok_or_else(|| BadVia(text.to_owned()))
    }
}

impl FromStr for Via {
    type Err = BadVia;

    fn from_str(text: &str) -> Result<Self, BadVia> {
        if text == "none" {
            return Ok(Self::default());
        }
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => host.fmt(f),
            Self::Ssh(place) => write!(f, "ssh:{place}"),
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let legs: Vec<String> = self.0.iter().map(Leg::to_string).collect();
        f.write_str(&legs.join(","))
    }
}

impl<'de> Deserialize<'de> for Via {
    /// Reads a text, or a list of texts.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl<'de> Visitor<'de> for Written {
            type Value = Via;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a gateway or a list of gateways: \"gw1\" or [\"gw1\", \"gw2\"]")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Via, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Via, A::Error> {
                let mut legs = Vec::new();
                while let Some(text) = list.next_element::<String>()? {
                    legs.push(text.parse().map_err(A::Error::custom)?);
                }
                Ok(Via(legs))
            }
        }

        deserializer.deserialize_any(Written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_hosts_and_what_ssh_reaches() {
        for text in ["gw1", "gw1,gw2", "ssh:root@bastion:22", "ssh:bastion,gw1", "none"] {
            assert_eq!(text.parse::<Via>().unwrap().to_string(), text);
        }
        assert!("none".parse::<Via>().unwrap().0.is_empty());
        for bad in
            ["", "gw1,", "Gw1", "-gw1", "ssh:", "ssh:-oProxyCommand=x", "gw1,none", "10.0.0.1"]
        {
            assert!(bad.parse::<Via>().is_err(), "{bad}");
        }
    }
}
