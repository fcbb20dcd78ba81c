//! A file as its sender describes it.

use serde::{Deserialize, Serialize};

use crate::limits::CHUNK;
use crate::protocol::invalid::Invalid;
use crate::protocol::metadata::{Metadata, Time};

/// A file as its sender describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Bytes; not known beforehand when the source is a stream.
    pub size: Option<u64>,
    /// The source has holes: zeros are left out at the destination too.
    pub sparse: bool,
    /// What it is beyond its content. Of a tree's file only mode and time, as it was read; the rest
    /// came with its entry.
    pub metadata: Metadata,
    /// Tells whether the source is still what it was at the last attempt.
    pub identity: Identity,
    /// Of the sums of this file's chunks and literals.
    pub seed: u64,
}

/// What changes when a file is replaced or written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The file system's number.
    pub device: u64,
    /// The file's number in it.
    pub inode: u64,
    /// Time of last change of content or metadata, which no program can set back.
    pub ctime: Time,
}

impl Offer {
    /// Checks what the types alone can't.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.size.is_some_and(|size| i64::try_from(size).is_err()) {
            return Err(Invalid::Size);
        }
        self.metadata.check()
    }

    /// What changes when the source does, whatever was asked for of its metadata: size, holes, time and
    /// identity.
    pub fn state(&self) -> (Option<u64>, bool, Time, Identity) {
        (self.size, self.sparse, self.metadata.mtime, self.identity)
    }

    /// How many chunks the file has, as far as its size is known.
    pub fn chunks(&self) -> u64 {
        self.size.unwrap_or_default().div_ceil(CHUNK as u64)
    }
}
