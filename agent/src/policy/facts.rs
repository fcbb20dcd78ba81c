//! What is looked up before a decision.

use std::time::SystemTime;

use super::networks::Peer;
use super::place::Reached;

/// What is looked up before a decision.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The keyring's file name, for messages.
    pub file: &'a str,
    /// The host's clock.
    pub clock: Clock,
    /// Where the controller is; `None` if that is on this host, or is not known.
    pub peer: Option<Peer>,
    /// The name of the user that the agent runs as.
    pub own: &'a str,
    /// The home of the user that the request is served as, where relative paths begin.
    pub home: Option<&'a [u8]>,
    /// The path of the program that the request names, as it was looked up.
    pub program: Option<&'a [u8]>,
    /// The addresses to connect to; `None` if they could not be looked up.
    pub reached: Option<&'a [Reached]>,
    /// The port at which the agent listens; 0 if it does not.
    pub own_port: u16,
}

impl Facts<'_> {
    /// A line of the keyring, for messages. A local session's rules are in no line.
    pub fn at(&self, line: usize) -> String {
        if line == 0 { self.file.to_owned() } else { format!("{}:{line}", self.file) }
    }
}

/// The host's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The time that it shows.
    pub now: SystemTime,
    /// Whether that can be: a clock before the start of the host's own certificate has not been set yet.
    pub is_set: bool,
}

impl Clock {
    /// A clock that shows this time, on a host whose certificate is valid from `since` on.
    pub fn new(now: SystemTime, since: SystemTime) -> Self {
        Self { now, is_set: now >= since }
    }
}
