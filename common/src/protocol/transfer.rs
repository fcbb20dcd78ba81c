//! Words of a transfer: the receiver says what it has, the sender sends what is missing.
//!
//! ```text
//! sender                                receiver
//!   Offer (a push carries it in Push) →
//!                                     ←   Have | Failed
//!   Chunk...                          →
//!                                     ←   Hashes...      of the chunks that it had
//!   Chunk...      those that differ   →
//!   Complete                          →
//!                                     ←   Done | Failed
//! ```
//!
//! Either end may say `Failed` at any time, which ends the transfer and leaves the session.

use serde::{Deserialize, Serialize};

use crate::limits::{CHUNK, MAX_BULK_HEADER, MAX_NAME, MAX_PATH};

/// Length of a hash or a chaining value, in bytes.
pub const HASH_LEN: usize = 32;

/// A BLAKE3 hash: of a whole file, or the chaining value of one chunk's subtree.
pub type Hash = [u8; HASH_LEN];

/// Most ranges in one [`Have`].
pub const MAX_RANGES: usize = 1024;

/// Most hashes in one [`Hashes`].
pub const MAX_HASHES: usize = 1024;

/// Sends a file to the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// Where to: see [`Destination`].
    pub dest: Destination,
    /// What is sent.
    pub offer: Offer,
}

/// Fetches a file from the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// The file's path; relative to the user's home.
    pub source: Vec<u8>,
}

/// Where a file goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// The name that the source gets, or, with a `/` at its end or when it is a folder, the folder
    /// that it goes into. Relative to the user's home, which is also what empty means.
    pub path: Vec<u8>,
    /// The source's own name: one component, for when it goes into a folder.
    pub name: Vec<u8>,
}

/// A file as its sender describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Bytes.
    pub size: u64,
    /// Permission bits; the type and, without `--special`, setuid, setgid and sticky are not sent.
    pub mode: u32,
    /// Time of last modification.
    pub mtime: Time,
    /// Tells whether the source is still what it was at the last attempt.
    pub identity: Identity,
}

/// A point in time, from 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// Seconds, before 1970 negative.
    pub secs: i64,
    /// Nanoseconds after the second, under a thousand million.
    pub nanos: u32,
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

/// What the receiver has of the offered file: chunks that a broken attempt left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Have {
    /// In rising order, not touching each other, at most [`MAX_RANGES`].
    pub chunks: Vec<Range>,
}

/// Chunks `first .. first + count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Index of the first chunk.
    pub first: u64,
    /// How many, at least one.
    pub count: u64,
}

/// The fixed part of a `Chunk` frame's payload; the chunk's bytes follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHead {
    /// Index of the chunk: its offset divided by [`CHUNK`].
    pub index: u64,
    /// Chaining value of its subtree (never the root's finalisation).
    pub hash: Hash,
}

impl ChunkHead {
    /// Encoded length in bytes.
    pub const LEN: usize = 8 + HASH_LEN;

    /// The head's bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.index.to_le_bytes());
        bytes[8..].copy_from_slice(&self.hash);
        bytes
    }

    /// Reads a head.
    pub fn decode(bytes: [u8; Self::LEN]) -> Self {
        let (index, hash) = bytes.split_at(8);
        Self {
            index: u64::from_le_bytes(index.try_into().expect("split at 8 of 40 bytes")),
            hash: hash.try_into().expect("32 of 40 bytes are left"),
        }
    }
}

const _: () = assert!(ChunkHead::LEN <= MAX_BULK_HEADER && CHUNK.is_power_of_two());

/// Hashes of chunks that the receiver had, computed now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hashes {
    /// The next ones, in the order of the ranges in [`Have`]; at most [`MAX_HASHES`].
    pub hashes: Vec<Hash>,
}

/// Every chunk was sent or confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complete {
    /// The file's length in bytes.
    pub size: u64,
    /// The file's plain BLAKE3, as `b3sum` prints it.
    pub hash: Hash,
}

/// The file is on disk under its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The name that it got, as the receiver resolved it.
    pub path: Vec<u8>,
}

/// Why a message of a transfer makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTransfer {
    /// A path is empty where it may not be, too long, or has a NUL byte.
    #[error("a path is empty, over {MAX_PATH} bytes or contains a NUL byte")]
    Path,
    /// A name is not one component.
    #[error("a file's name is empty, \".\", \"..\", over {MAX_NAME} bytes or contains '/' or NUL")]
    Name,
    /// A time's nanoseconds are a second or more.
    #[error("a time's nanoseconds are out of range")]
    Time,
    /// A size that no file can have.
    #[error("a file's size is out of range")]
    Size,
    /// Ranges that overlap, go past the end, or are too many.
    #[error("the chunks that the receiver has are out of order or past the file's end")]
    Ranges,
}

impl Push {
    /// Checks what the types alone can't.
    pub fn check(&self) -> Result<(), BadTransfer> {
        if self.dest.path.len() > MAX_PATH || self.dest.path.contains(&0) {
            return Err(BadTransfer::Path);
        }
        check_name(&self.dest.name)?;
        self.offer.check()
    }
}

impl Pull {
    /// Checks what the types alone can't.
    pub fn check(&self) -> Result<(), BadTransfer> {
        let bad =
            self.source.is_empty() || self.source.len() > MAX_PATH || self.source.contains(&0);
        if bad { Err(BadTransfer::Path) } else { Ok(()) }
    }
}

/// Whether `name` is one component that can be made in a folder.
pub fn check_name(name: &[u8]) -> Result<(), BadTransfer> {
    let bad = matches!(name, b"" | b"." | b"..")
        || name.len() > MAX_NAME
        || name.iter().any(|b| matches!(b, b'/' | 0));
    if bad { Err(BadTransfer::Name) } else { Ok(()) }
}

impl Offer {
    /// Checks what the types alone can't.
    pub fn check(&self) -> Result<(), BadTransfer> {
        if i64::try_from(self.size).is_err() {
            return Err(BadTransfer::Size);
        }
        self.mtime.check()
    }

    /// How many chunks the file has.
    pub fn chunks(&self) -> u64 {
        self.size.div_ceil(CHUNK as u64)
    }
}

impl Time {
    fn check(self) -> Result<(), BadTransfer> {
        if self.nanos < 1_000_000_000 { Ok(()) } else { Err(BadTransfer::Time) }
    }
}

impl Have {
    /// Checks the ranges against a file of `chunks` chunks.
    pub fn check(&self, chunks: u64) -> Result<(), BadTransfer> {
        let mut free_from = 0;
        for range in &self.chunks {
            let end = range.first.checked_add(range.count).ok_or(BadTransfer::Ranges)?;
            if range.first < free_from || range.count == 0 || end > chunks {
                return Err(BadTransfer::Ranges);
            }
            free_from = end + 1;
        }
        if self.chunks.len() > MAX_RANGES { Err(BadTransfer::Ranges) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_head_goes_there_and_back() {
        let head = ChunkHead { index: 0x0102_0304, hash: [7; HASH_LEN] };
        assert_eq!(ChunkHead::decode(head.encode()), head);
        assert_eq!(head.encode()[..8], [4, 3, 2, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn names_are_one_component() {
        for bad in [&b""[..], b".", b"..", b"a/b", b"a\0", &[b'x'; MAX_NAME + 1]] {
            assert_eq!(check_name(bad), Err(BadTransfer::Name));
        }
        for good in [&b"a"[..], b"...", b"-rf", b"\xff\n", &[b'x'; MAX_NAME]] {
            assert_eq!(check_name(good), Ok(()));
        }
    }

    #[test]
    fn ranges_rise_stay_inside_and_never_wrap() {
        let have = |ranges: &[(u64, u64)]| Have {
            chunks: ranges.iter().map(|&(first, count)| Range { first, count }).collect(),
        };
        assert_eq!(have(&[]).check(0), Ok(()));
        assert_eq!(have(&[(0, 2), (3, 1)]).check(4), Ok(()));
        for bad in
            [&[(0, 0)][..], &[(0, 5)], &[(1, 1), (0, 1)], &[(0, 2), (2, 1)], &[(1, u64::MAX)]]
        {
            assert_eq!(have(bad).check(4), Err(BadTransfer::Ranges), "{bad:?}");
        }
    }
}
