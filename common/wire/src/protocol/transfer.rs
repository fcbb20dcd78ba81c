//! Words of a transfer: the receiver says what it has, the sender sends what is missing.
//!
//! ```text
//! sender                                receiver
//!   Offer (a push carries it in Push) →
//!                                     ←   Have | Failed
//!   Chunk         the rest of one     →
//! with a basis:
//!                                     ←   Pieces...      of the basis
//!   Copies, Literal...                →
//! without one:
//!   Chunk...      those not in Have   →
//! then:
//!                                     ←   Hashes...      of the chunks in Have, and of those rebuilt
//!   Chunk...      those that differ   →
//!   Complete                          →
//!                                     ←   Done | Failed
//! ```
//!
//! Either end may say `Failed` at any time. Before `Have` that leaves the session as it was; after it,
//! it ends the session too.

use serde::{Deserialize, Serialize};

use crate::limits::{CHUNK, MAX_BULK_HEADER, MAX_NAME, MAX_PATH};
use crate::protocol::metadata::{MAX_XATTRS, Metadata, Preserve};
use crate::protocol::request::may_name_user;
use crate::protocol::tree::TreeOptions;

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
    /// What becomes of it there.
    pub overrides: Overrides,
    /// What of its metadata it gets there.
    pub preserve: Preserve,
    /// Whose rights it is done with, if not with those of the agent's own user.
    pub user: Option<String>,
}

/// Fetches a file or a directory from the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// The path; relative to the user's home.
    pub source: Vec<u8>,
    /// How it is sent.
    pub sending: Sending,
    /// How a directory is sent, and what of a file beside its content; without it only a file is, with
    /// nothing but its mode and time.
    pub tree: Option<TreeOptions>,
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
}

/// What becomes of a file beyond its content, where it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    /// Permission bits in place of the source's.
    pub mode: Option<u32>,
    /// Owner's name or number on the host.
    pub user: Option<String>,
    /// Group's name or number on the host.
    pub group: Option<String>,
    /// Keep what is replaced, under its name with `~` behind it.
    pub backup: bool,
    /// Write into a file that is there instead of replacing it.
    pub in_place: bool,
}

impl Overrides {
    /// Checks what the types alone can't.
    pub(super) fn check(&self) -> Result<(), BadTransfer> {
        if self.mode.is_some_and(|mode| mode & !0o7777 != 0) {
            return Err(BadTransfer::Mode);
        }
        if self.backup && self.in_place { Err(BadTransfer::InPlace) } else { Ok(()) }
    }
}

/// Where a file or a directory goes. What it means is rsync's rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Of a file: the name that it gets, or, with a `/` at its end or when it is a directory, the
    /// directory that it goes into. Of a directory: the one that it goes into. Relative to the user's home,
    /// which is also what empty means.
    pub path: Vec<u8>,
    /// The source's own name: one component. A file that has none, such as stdin, goes into no directory; a
    /// directory that has none is meant by its contents, and `path` becomes its copy.
    pub name: Vec<u8>,
}

impl Destination {
    /// Checks what the types alone can't, for a file.
    pub(super) fn check(&self) -> Result<(), BadTransfer> {
        self.check_tree()?;
        if self.name.is_empty() && self.is_inside() { Err(BadTransfer::Name) } else { Ok(()) }
    }

    /// Checks what the types alone can't, for a directory.
    pub(super) fn check_tree(&self) -> Result<(), BadTransfer> {
        if self.path.len() > MAX_PATH || self.path.contains(&0) {
            return Err(BadTransfer::Path);
        }
        if self.name.is_empty() { Ok(()) } else { check_name(&self.name) }
    }

    /// Whether the path can only mean the directory that the source goes into.
    pub fn is_inside(&self) -> bool {
        matches!(self.path.rsplit(|&b| b == b'/').next(), None | Some(b"" | b"." | b".."))
    }
}

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

/// What the receiver has of the offered file: what a broken attempt left, and perhaps an older file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Have {
    /// In rising order, not touching each other, at most [`MAX_RANGES`].
    pub chunks: Vec<Range>,
    /// One more, of which only the beginning came.
    pub begun: Option<Begun>,
    /// The file that will be replaced, if it may be like the offered one.
    pub basis: Option<Basis>,
}

/// A chunk that was cut on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Its index.
    pub chunk: u64,
    /// Bytes of it that came: some, and not all.
    pub len: u32,
}

/// A file of the receiver's, which is about to be cut by content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// Bytes.
    pub size: u64,
    /// The pieces' average length, as a power of two.
    pub average_log2: u8,
    /// Keys the pieces' hashes, new for each transfer.
    pub seed: u64,
}

/// Length of a piece on the wire, in bytes: its hash, and its length as a `u32`.
pub const PIECE_LEN: usize = 16 + 4;

/// Most pieces in one frame.
pub const MAX_PIECES: usize = 8 * 1024;

/// Most copies in one [`Copies`].
pub const MAX_COPIES: usize = 4 * 1024;

/// Parts of the file that the basis has. What is rebuilt goes on where the last copy or literal ended,
/// past the chunks in [`Have`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copies {
    /// In the file's order, at most [`MAX_COPIES`].
    pub copies: Vec<Copy>,
}

/// One part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copy {
    /// Where it starts in the basis.
    pub from: u64,
    /// Bytes.
    pub len: u32,
}

/// How a body is encoded. The numbers are the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Encoding {
    /// The bytes themselves.
    Raw = 0,
    /// No bytes: all of them are zero.
    Zeros = 1,
    /// One zstd frame.
    Zstd = 2,
}

impl Encoding {
    /// Reads the wire's number.
    pub fn from_wire(number: u8) -> Option<Self> {
        [Self::Raw, Self::Zeros, Self::Zstd].into_iter().find(|encoding| *encoding as u8 == number)
    }
}

/// The fixed part of a `Literal` frame's payload; the body follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiteralHead {
    /// Bytes that the body stands for, at most [`CHUNK`].
    pub len: u32,
    /// An [`Encoding`].
    pub encoding: u8,
}

impl LiteralHead {
    /// Encoded length in bytes.
    pub const LEN: usize = 4 + 1;

    /// The head's bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let [a, b, c, d] = self.len.to_le_bytes();
        [a, b, c, d, self.encoding]
    }

    /// Reads a head.
    pub fn decode([a, b, c, d, encoding]: [u8; Self::LEN]) -> Self {
        Self { len: u32::from_le_bytes([a, b, c, d]), encoding }
    }
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
    /// An [`Encoding`].
    pub encoding: u8,
}

impl ChunkHead {
    /// Encoded length in bytes.
    pub const LEN: usize = 8 + HASH_LEN + 1;

    /// The head's bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.index.to_le_bytes());
        bytes[8..8 + HASH_LEN].copy_from_slice(&self.hash);
        bytes[8 + HASH_LEN] = self.encoding;
        bytes
    }

    /// Reads a head.
    pub fn decode(bytes: [u8; Self::LEN]) -> Self {
        let (index, rest) = bytes.split_at(8);
        let (hash, encoding) = rest.split_at(HASH_LEN);
        Self {
            index: u64::from_le_bytes(index.try_into().expect("split at 8 of 41 bytes")),
            hash: hash.try_into().expect("split at 32 of 33 bytes"),
            encoding: encoding[0],
        }
    }
}

const _: () = assert!(ChunkHead::LEN <= MAX_BULK_HEADER && CHUNK.is_power_of_two());

/// Hashes of chunks that the receiver had or has rebuilt, computed now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hashes {
    /// Index of the first chunk.
    pub first: u64,
    /// One for each chunk from `first` on, at most [`MAX_HASHES`].
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

/// The file is on disk under its name. Which one, and where, is the receiver's own business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Whether it was another file before, or had another mode, time or the like.
    pub changed: bool,
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
    /// No user can have such a name.
    #[error("no user can have this name")]
    User,
    /// A number that no user or group can have.
    #[error("a file's owner or group has a number that nobody can have")]
    Owner,
    /// Permission bits that do not exist.
    #[error("a file's mode has bits that do not exist")]
    Mode,
    /// An entry of an ACL that can't be.
    #[error("an entry of an ACL has rights or a name that can't be")]
    Acl,
    /// What is written in place is lost, and can't be kept as well.
    #[error("a file that is written in place can't be kept as a backup")]
    InPlace,
    /// Extended attributes are too many, or one has no name.
    #[error("extended attributes are over {MAX_XATTRS} bytes, or have names that can't be")]
    Xattrs,
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
        self.dest.check()?;
        self.overrides.check()?;
        check_user(self.user.as_deref())?;
        self.offer.check()
    }
}

impl Pull {
    /// Checks what the types alone can't.
    pub fn check(&self) -> Result<(), BadTransfer> {
        let bad =
            self.source.is_empty() || self.source.len() > MAX_PATH || self.source.contains(&0);
        if bad { Err(BadTransfer::Path) } else { check_user(self.user.as_deref()) }
    }
}

/// Checks the user as whom a transfer is asked for.
pub(super) fn check_user(user: Option<&str>) -> Result<(), BadTransfer> {
    if may_name_user(user) { Ok(()) } else { Err(BadTransfer::User) }
}

/// Whether `name` is one component that can be made in a directory.
pub fn check_name(name: &[u8]) -> Result<(), BadTransfer> {
    let bad = matches!(name, b"" | b"." | b"..")
        || name.len() > MAX_NAME
        || name.iter().any(|b| matches!(b, b'/' | 0));
    if bad { Err(BadTransfer::Name) } else { Ok(()) }
}

impl Offer {
    /// Checks what the types alone can't.
    pub fn check(&self) -> Result<(), BadTransfer> {
        if self.size.is_some_and(|size| i64::try_from(size).is_err()) {
            return Err(BadTransfer::Size);
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

impl Time {
    /// Checks what the type alone can't.
    pub fn check(self) -> Result<(), BadTransfer> {
        if self.nanos < 1_000_000_000 { Ok(()) } else { Err(BadTransfer::Time) }
    }
}

impl Have {
    /// The chunks that both ends compare by their hashes, if there is no basis: all of which something is
    /// there.
    pub fn compared(&self) -> Vec<Range> {
        let mut compared = self.chunks.clone();
        if let Some(begun) = self.begun {
            let place = compared.partition_point(|range| range.first < begun.chunk);
            compared.insert(place, Range { first: begun.chunk, count: 1 });
        }
        compared
    }

    /// Checks all of it against a file of `size` bytes.
    pub fn check(&self, size: u64) -> Result<(), BadTransfer> {
        let chunks = size.div_ceil(CHUNK as u64);
        // One chunk is quicker sent than compared, so that only what comes next of it is.
        self.check_ranges(if chunks > 1 { chunks } else { 0 })?;
        let Some(Begun { chunk, len }) = self.begun else { return Ok(()) };
        let had = |range: &Range| (range.first..range.first + range.count).contains(&chunk);
        let starts = chunk.checked_mul(CHUNK as u64).ok_or(BadTransfer::Ranges)?;
        let whole = size.saturating_sub(starts).min(CHUNK as u64);
        let fits = len > 0 && u64::from(len) < whole;
        if fits && !self.chunks.iter().any(had) { Ok(()) } else { Err(BadTransfer::Ranges) }
    }

    fn check_ranges(&self, chunks: u64) -> Result<(), BadTransfer> {
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
        let head = ChunkHead { index: 0x0102_0304, hash: [7; HASH_LEN], encoding: 2 };
        assert_eq!(ChunkHead::decode(head.encode()), head);
        assert_eq!(head.encode()[..8], [4, 3, 2, 1, 0, 0, 0, 0]);
        let head = LiteralHead { len: 0x0102_0304, encoding: 1 };
        assert_eq!((LiteralHead::decode(head.encode()), head.encode()), (head, [4, 3, 2, 1, 1]));
    }

    #[test]
    fn a_source_without_a_name_goes_into_no_directory() {
        let check =
            |path: &str, name: &str| Destination { path: path.into(), name: name.into() }.check();
        for (path, name) in [("/srv/a", ""), ("a", ""), ("", "a"), ("/srv/", "a")] {
            assert_eq!(check(path, name), Ok(()), "{path} {name}");
        }
        for path in ["", "/srv/", ".", "a/.."] {
            assert_eq!(check(path, ""), Err(BadTransfer::Name), "{path}");
        }
        assert_eq!(check("/srv/a", "."), Err(BadTransfer::Name));
        assert_eq!(check("a\0", ""), Err(BadTransfer::Path));
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
        const C: u64 = CHUNK as u64;
        let have = |ranges: &[(u64, u64)]| Have {
            chunks: ranges.iter().map(|&(first, count)| Range { first, count }).collect(),
            ..Have::default()
        };
        assert_eq!(have(&[]).check(0), Ok(()));
        assert_eq!(have(&[(0, 2), (3, 1)]).check(3 * C + 1), Ok(()));
        assert_eq!(have(&[(0, 1)]).check(C), Err(BadTransfer::Ranges));
        for bad in
            [&[(0, 0)][..], &[(0, 5)], &[(1, 1), (0, 1)], &[(0, 2), (2, 1)], &[(1, u64::MAX)]]
        {
            assert_eq!(have(bad).check(4 * C), Err(BadTransfer::Ranges), "{bad:?}");
        }
        let begun = |chunk, len, ranges: &[(u64, u64)]| {
            let have = Have { begun: Some(Begun { chunk, len }), ..have(ranges) };
            have.check(3 * C + 9).map(|()| have.compared().len())
        };
        assert_eq!((begun(3, 8, &[]), begun(2, 1, &[(0, 1), (3, 1)])), (Ok(1), Ok(3)));
        for (chunk, len, ranges) in [
            (3, 9, &[][..]),
            (3, 0, &[]),
            (4, 1, &[]),
            (u64::MAX, 1, &[]),
            (0, 1 << 19, &[]),
            (1, 1, &[(0, 2)]),
        ] {
            assert_eq!(begun(chunk, len, ranges), Err(BadTransfer::Ranges), "{chunk} {len}");
        }
    }
}
