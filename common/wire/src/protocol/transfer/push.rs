//! Sends a file to the host; and the end of every file's transfer.

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
    /// The transfer. The newest request for a destination cancels an older one, unless both are of the same
    /// transfer.
    pub transfer: TransferId,
    /// Where it goes.
    pub dest: Destination,
    /// The file.
    pub offer: Offer,
    /// Options for the file at its destination.
    pub overrides: Overrides,
    /// Which of its metadata is set at its destination.
    pub preserve: Preserve,
    /// Change nothing, but report what would be changed. An empty [`Have`](super::Have) asks for [`Complete`] with the
    /// file's hash.
    pub dry_run: bool,
    /// The user that the work is done as, if not the agent's own.
    pub user: Option<String>,
}

/// How a sender sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// Compress what can be compressed.
    pub compress: bool,
    /// At most this many bytes per second.
    pub rate: Option<u64>,
    /// Send the file's hash in [`Complete`].
    pub hash: bool,
}

/// Every chunk was sent or confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complete {
    /// The file's length in bytes.
    pub size: u64,
    /// The file's plain BLAKE3, as `b3sum` prints it, if it was requested.
    pub hash: Option<Hash>,
}

/// The file is on disk under its name, which only the receiver knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Whether the destination's content, mode, time or other metadata changed.
    pub changed: bool,
    /// The BLAKE3 of the file as it was read back, if that was requested.
    pub hash: Option<Hash>,
}

impl Push {
    /// Checks what the types can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        self.dest.check()?;
        self.overrides.check()?;
        check_user(self.user.as_deref())?;
        self.offer.check()
    }
}
