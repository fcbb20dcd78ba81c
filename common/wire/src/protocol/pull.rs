//! Fetches files from the host.

use lariat_base::name::TransferId;
use serde::{Deserialize, Serialize};

use super::invalid::{Invalid, check_user};
use super::transfer::Sending;
use super::tree::TreeOptions;
use crate::limits::MAX_PATH;

/// Fetches a file or a directory from the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// The transfer.
    pub transfer: TransferId,
    /// The path, relative to the user's home.
    pub source: Vec<u8>,
    /// How the content is sent.
    pub sending: Sending,
    /// Options for a directory, and for a file's metadata. Without them only a file can be fetched, with
    /// nothing but its mode and time.
    pub tree: Option<TreeOptions>,
    /// The user that the work is done as, if not the agent's own.
    pub user: Option<String>,
}

impl Pull {
    /// Checks what the types can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        let bad =
            self.source.is_empty() || self.source.len() > MAX_PATH || self.source.contains(&0);
        if bad {
            return Err(Invalid::Path);
        }
        check_user(self.user.as_deref())?;
        self.tree.as_ref().map_or(Ok(()), TreeOptions::check)
    }
}
