//! `[dial]`: the gateways that the agent dials, so that a host can be reached that nobody can connect to.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use lariat_base::name::HostName;
use lariat_client::Address;
use serde::{Deserialize, Deserializer};

use super::values;

/// Most gateways.
const MOST: usize = 8;

/// What is dialled, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dial {
    /// The gateways.
    #[serde(deserialize_with = "gateways")]
    pub gateway: Vec<Gateway>,
    /// The file of the key that parks connections there.
    #[serde(default = "key", deserialize_with = "values::path")]
    pub key: PathBuf,
}

/// A gateway, `NAME=ADDR:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Its name, which its certificate must contain.
    pub name: HostName,
    /// Where it listens.
    pub address: Address,
}

/// A text is no [`Gateway`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no gateway and its address, such as gw1=203.0.113.5:7433")]
pub struct BadGateway(String);

impl FromStr for Gateway {
    type Err = BadGateway;

    fn from_str(text: &str) -> Result<Self, BadGateway> {
        let parts = text.split_once('=').and_then(|(name, address)| {
            Some(Self { name: name.parse().ok()?, address: address.parse().ok()? })
        });
        parts.ok_or_else(|| BadGateway(text.to_owned()))
    }
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.address)
    }
}

fn key() -> PathBuf {
    "park.key".into()
}

fn gateways<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Gateway>, D::Error> {
    let wrong = |why: String| Err(serde::de::Error::custom(why));
    let texts = Vec::<String>::deserialize(deserializer)?;
    let all: Result<Vec<Gateway>, BadGateway> = texts.iter().map(|text| text.parse()).collect();
    let all = match all {
        Err(bad) => return wrong(bad.to_string()),
        Ok(all) if all.is_empty() => {
            return wrong("it has no gateway; leave [dial] out instead".to_owned());
        }
        Ok(all) if all.len() > MOST => return wrong(format!("more than {MOST} gateways")),
        Ok(all) => all,
    };
    let mut names: Vec<_> = all.iter().map(|gateway| &gateway.name).collect();
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => wrong(format!("{} is listed twice", pair[0])),
        None => Ok(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Dial, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn gateways_are_names_with_addresses() {
        let dial = parse("gateway = [\"gw1=203.0.113.5\", \"gw2=[fd00::1]:7500\"]\n").unwrap();
        let told: Vec<_> = dial.gateway.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["gw1 (203.0.113.5:7433)", "gw2 ([fd00::1]:7500)"]);
        assert_eq!(dial.key, PathBuf::from("park.key"));
        for bad in ["gw1", "=10.0.0.1", "Gw1=10.0.0.1", "gw1=", "gw1=10.0.0.1:0", "gw1=a b"] {
            let error = parse(&format!("gateway = [{bad:?}]\n")).unwrap_err();
            assert!(error.contains("is no gateway and its address"), "{bad}: {error}");
        }
        assert!(parse("gateway = []\n").unwrap_err().contains("no gateway"));
        let twice = parse("gateway = [\"gw1=a\", \"gw1=b\"]\n").unwrap_err();
        assert!(twice.contains("gw1 is listed twice"), "{twice}");
        let many: Vec<_> = (0..=MOST).map(|n| format!("\"gw{n}=a\"")).collect();
        assert!(parse(&format!("gateway = [{}]\n", many.join(","))).is_err());
    }
}
