//! Messages of ports of the host that lead to the controller.
//!
//! ```text
//! controller          agent
//!   Listen       →
//!                ←    Listening, or Failed
//!                ←    Arrived           for each connection
//!
//!   Take         →                      on another session
//!                ←    Connected, or Failed; from then on as after Connect
//! ```
//!
//! It goes on until the controller ends the session, or opens its next request.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::invalid::Invalid;

/// Listens on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// An IP address of the host, without brackets.
    pub address: String,
    /// The port; 0 for one that the host picks.
    pub port: u16,
}

/// The address that a word stands for, as in ssh: an empty one and `*` are all of them.
pub fn address(word: &str) -> &str {
    match word {
        "localhost" => "127.0.0.1",
        "" | "*" => "::",
        address => address,
    }
}

/// The host listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// The number by which connections are taken.
    pub listener: u64,
    /// Where it listens, as text.
    pub address: String,
}

/// A connection has arrived, and waits to be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// Its number.
    pub connection: u64,
    /// Where it comes from, as text.
    pub from: String,
}

/// Takes a connection that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Take {
    /// Where it arrived.
    pub listener: u64,
    /// Its number.
    pub connection: u64,
}

impl Listen {
    /// The address; `None` if it is none.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.parse().ok()
    }

    pub(super) fn check(&self) -> Result<(), Invalid> {
        if self.ip().is_some() { Ok(()) } else { Err(Invalid::ListenAddress) }
    }
}
