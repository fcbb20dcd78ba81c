//! What is dialled, and what comes of it.

use std::path::PathBuf;

use lariat_base::name::HostName;

use crate::config::{Config, Gateway};
use crate::transport::Origin;

/// What is dialled, and with what.
#[derive(PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) host: HostName,
    pub(super) gateways: Vec<Gateway>,
    pub(super) files: Files,
}

/// The files that are read before each attempt.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Files {
    /// The key that parks connections.
    pub(super) key: PathBuf,
    /// The fleet's CA.
    pub(super) ca: PathBuf,
}

impl Wanted {
    /// What a configuration says, if that is anything.
    pub(super) fn of(config: &Config) -> Option<Self> {
        let dial = config.dial.as_ref()?;
        let files = Files { key: dial.key.clone(), ca: config.ca.clone() };
        Some(Self { host: config.name.clone(), gateways: dial.gateway.clone(), files })
    }
}

/// A connection that a controller has begun to use.
pub(super) struct Arrived {
    pub(super) stream: std::net::TcpStream,
    pub(super) origin: Origin,
}
