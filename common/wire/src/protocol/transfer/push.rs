//! Sends a file to the host, and the end of every file's transfer.

use lariat_base::name::TransferId;
use serde::{Deserialize, Serialize};

use super::chunk::Hash;
use super::offer::Offer;
use super::placement::{Destination, Overrides};
use crate::protocol::invalid::{Invalid, check_user};
use crate::protocol::metadata::Preserve;

/// Sends a file to the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// The transfer. The newest request for a destination ends an older one, unless that is of the same
    /// transfer.
    pub transfer: TransferId,
    /// Where to: see [`Destination`].
    pub dest: Destination,
    /// What is sent.
    pub offer: Offer,
    /// What becomes of it there.
    pub overrides: Overrides,
    /// What of its metadata it gets there.
    pub preserve: Preserve,
    /// Change nothing, tell what would be changed: the answer to `Have` is `Done`.
    pub dry_run: bool,
    /// Whose rights it is done with, if not with those of the agent's own user.
    pub user: Option<String>,
}

/// How a sender sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// Compress what can be.
    pub compress: bool,
    /// At most this many bytes a second.
    pub rate: Option<u64>,
    /// Give the file's hash in [`Complete`].
    pub hash: bool,
}

/// Every chunk was sent or confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complete {
    /// The file's length in bytes.
    pub size: u64,
    /// The file's plain BLAKE3, as `b3sum` prints it, if it was asked for.
    pub hash: Option<Hash>,
}

/// The file is on disk under its name. Which one, and where, is the receiver's own business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Whether it was another file before, or had another mode, time or the like.
    pub changed: bool,
    /// The BLAKE3 of the file as it was read back, if that was asked for.
    pub hash: Option<Hash>,
}

impl Push {
    /// Checks what the types alone can't.
    pub fn check(&self) -> Result<(), Invalid> {
        self.dest.check()?;
        self.overrides.check()?;
        check_user(self.user.as_deref())?;
        self.offer.check()
    }
}
