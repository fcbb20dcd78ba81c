//! A file as its sender describes it.

use serde::{Deserialize, Serialize};

use crate::limits::CHUNK;
use crate::protocol::invalid::Invalid;
use crate::protocol::metadata::{Metadata, Time};

/// A file as its sender describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Length in bytes; `None` if the source is a stream.
    pub size: Option<u64>,
    /// Whether the source has holes: then zeros become holes at the destination too.
    pub sparse: bool,
    /// The file's metadata. For a file of a tree only mode and time, as of when it was read; the rest came
    /// with its entry.
    pub metadata: Metadata,
    /// Shows whether the source is still the file of the last attempt.
    pub identity: Identity,
    /// The seed of the sums of this file's chunks and literals.
    pub seed: u64,
}

/// What changes when a file is replaced or written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The file system's device number.
    pub device: u64,
    /// The inode number.
    pub inode: u64,
    /// Time of the last change of content or metadata, which programs can't set back.
    pub ctime: Time,
}

impl Offer {
    /// Checks what the types can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.size.is_some_and(|size| i64::try_from(size).is_err()) {
            return Err(Invalid::Size);
        }
        self.metadata.check()
    }

    /// What changes when the source does, whichever metadata was requested: size, holes, time and identity.
    pub fn state(&self) -> (Option<u64>, bool, Time, Identity) {
        (self.size, self.sparse, self.metadata.mtime, self.identity)
    }

    /// The number of chunks, as far as the size is known.
    pub fn chunks(&self) -> u64 {
        self.size.unwrap_or_default().div_ceil(CHUNK as u64)
    }
}
