//! Values in `agent.toml` that serde does not know, with the bounds that they have.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use lariat_base::units::{parse_duration, parse_size};
use lariat_wire::protocol::verb::Verb;
use serde::{Deserialize, Deserializer};

/// Parses an IP address with a port.
pub fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let bad =
        |_| format!("{text:?} is not an IP address and a port, such as 0.0.0.0:7433 or [::]:7433");
    text.parse().map_err(bad)
}

/// An empty path would stand for the directory of the configuration.
pub(super) fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    match PathBuf::deserialize(deserializer)? {
        path if path.as_os_str().is_empty() => {
            Err(serde::de::Error::custom("a path can't be empty"))
        }
        path => Ok(path),
    }
}

pub(super) fn socket_address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_listen(&text).map(Some).map_err(serde::de::Error::custom)
}

pub(super) fn verbs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Verb>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    names.iter().map(|name| name.parse().map_err(serde::de::Error::custom)).collect()
}

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map_err(serde::de::Error::custom)
}

pub(super) fn positive_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    let duration = duration(deserializer)?;
    if duration.is_zero() {
        return Err(serde::de::Error::custom("0 would let nobody log in"));
    }
    Ok(duration)
}

/// Less would cut the output of a single command into files that are too small.
pub(super) fn log_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    const LEAST: u64 = 64 * 1024;
    let text = String::deserialize(deserializer)?;
    match parse_size(&text).map_err(serde::de::Error::custom)? {
        size if size < LEAST => Err(serde::de::Error::custom("it can't be less than 64K")),
        size => Ok(size),
    }
}

pub(super) fn some_count<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<usize>, D::Error> {
    match usize::deserialize(deserializer)? {
        0 => Err(serde::de::Error::custom("0 would let nobody do anything")),
        limit => Ok(Some(limit)),
    }
}

pub(super) fn some_size<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_size(&text).map(Some).map_err(serde::de::Error::custom)
}

/// Less would not suffice for a single request.
pub(super) fn some_memory<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<usize>, D::Error> {
    const LEAST: u64 = 16 * 1024 * 1024;
    let text = String::deserialize(deserializer)?;
    match parse_size(&text).map_err(serde::de::Error::custom)? {
        size if size < LEAST => Err(serde::de::Error::custom("it can't be less than 16M")),
        size => usize::try_from(size).map(Some).map_err(serde::de::Error::custom),
    }
}

/// Less would not suffice for a shell.
pub(super) fn job_memory<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    const LEAST: u64 = 1024 * 1024;
    match some_size(deserializer)? {
        Some(size) if size < LEAST => Err(serde::de::Error::custom("it can't be less than 1M")),
        size => Ok(size),
    }
}

/// Less would drop what has just happened, should the clock be set forward by hours.
pub(super) fn at_least_a_day<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    match duration(deserializer)? {
        keep if keep < DAY => Err(serde::de::Error::custom("it can't be less than 1d")),
        keep => Ok(keep),
    }
}

pub(super) fn to_confirm<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    const MOST: Duration = Duration::from_secs(600);
    match duration(deserializer)? {
        limit if limit < Duration::from_secs(1) || limit > MOST => {
            Err(serde::de::Error::custom("it is 1s to 10m"))
        }
        limit => Ok(limit),
    }
}

/// Rejects 0, which might be taken for "unlimited".
pub(super) fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match usize::deserialize(deserializer)? {
        0 => Err(serde::de::Error::custom("0 would let nobody in")),
        limit => Ok(limit),
    }
}
