//! Messages of a connection through the host: a pipe of bytes to an address that the host can reach.
//!
//! ```text
//! controller          agent
//!   Connect      →
//!                ←    Connected, or Failed
//!   PipeBytes    ⇄    PipeBytes        up to the credit of the other end
//!   PipeTaken    ⇄    PipeTaken        more credit
//!   PipeEnd      ⇄    PipeEnd          each direction ends by itself
//! ```
//!
//! With `bare`, each end sends its TLS close_notify after `Connected` (RFC 8446, section 6.1) and no frame ever
//! again: what follows on the connection are the bytes of the pipe themselves.
//!
//! A host that can't be reached from outside offers connections itself: it dials another agent, its gateway, where each
//! connection waits until a controller's `Connect` takes it.
//!
//! ```text
//! host                gateway
//!   Park         →
//!                ←    Parked, or Failed
//!                ←    Handed
//! ```
//!
//! After `Handed` each end ends its TLS, as with `bare`, and the bytes of the controller follow.

use lariat_base::name::HostName;
use serde::{Deserialize, Serialize};

use super::invalid::{Invalid, check_user};
use crate::limits::{MAX_NAME, MAX_PATH};

/// Takes a connection that a host has parked here, or else opens a TCP connection from this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connect {
    /// The host whose parked connection is taken, if there is one here.
    pub parked: Option<HostName>,
    /// Where to connect to otherwise: an IP address without brackets, or a name, which the host resolves. Empty if there
    /// is only `parked`.
    pub host: String,
    /// The port; 0 without an address.
    pub port: u16,
    /// Whether the connection to the agent becomes the pipe, without TLS or frames. Only for what is encrypted itself.
    pub bare: bool,
}

/// Opens a connection to a unix socket of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectUnix {
    /// Its path.
    pub path: Vec<u8>,
    /// The user to connect as, if not the agent's own.
    pub user: Option<String>,
}

/// The connection exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    /// The address that it goes to, as text; `host:NAME` if that host had parked it.
    pub address: String,
}

/// Offers this connection to the controllers of a host. The key may do nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Park {
    /// The host that offers it.
    pub host: HostName,
}

/// The connection waits for a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked;

/// A controller has taken the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed;

/// Bytes of the pipe have been taken: the sender may send as many more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipeTaken {
    /// How many since the last such message.
    pub bytes: u64,
}

/// No byte follows in this direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipeEnd;

impl Connect {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        if self.parked.is_some() && self.host.is_empty() && self.port == 0 {
            return Ok(());
        }
        let plain = |c: char| !c.is_control() && !c.is_whitespace();
        let is_host = (1..=MAX_NAME).contains(&self.host.len())
            && self.host.chars().all(plain)
            && !self.host.starts_with('-');
        if is_host && self.port != 0 { Ok(()) } else { Err(Invalid::Address) }
    }
}

impl ConnectUnix {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        check_user(self.user.as_deref())?;
        let is_path = (2..=MAX_PATH).contains(&self.path.len())
            && self.path.starts_with(b"/")
            && !self.path.contains(&0);
        if is_path { Ok(()) } else { Err(Invalid::Path) }
    }
}
