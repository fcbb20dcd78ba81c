//! Words of a tree's transfer: a manifest streams one way, what is wanted of it comes back, and
//! contents follow without waiting for each other.
//!
//! ```text
//! sender                                receiver
//!   Root (a push carries it in PushTree) →
//!   Entries...    folder by folder       →
//!                                     ←   Answers...     what is wanted of them
//!   Pack...       small files            →
//!   Begin, Chunk..., Complete            a file that the receiver has nothing of
//!   Begin, then the dialogue of one file with Have, for one that it has something of
//!                                     ←   Missed, Changes
//!   Missed        instead of a content   →
//!   End                                  →
//!                                     ←   Settled | Failed
//! ```
//!
//! Entries are counted from 1 in the order in which they are sent; 0 is the root. Which folder they
//! are in follows from their order: docs/PROTOCOL.md, section 7.

use serde::{Deserialize, Serialize};

use crate::limits::{CHUNK, MAX_NAME, MAX_PATH};
use crate::protocol::failure::{Failure, FileKind};
use crate::protocol::transfer::{
    BadTransfer, Destination, HASH_LEN, Hash, Offer, Placement, Time, check_name,
};

/// What entries may weigh that are unsettled: sent, and neither answered with [`Answer::Nothing`] nor
/// followed by their content. It bounds what both ends keep in memory, and is enough for 100,000 entries a second
/// over a network of 150 ms.
pub const WINDOW: usize = 16 * 1024;

/// Most that one [`Entries`] weighs: see [`Entry::weight`].
pub const MAX_MESSAGE_WEIGHT: usize = MAX_ENTRIES + crate::limits::MAX_MESSAGE / XATTRS_PER_WEIGHT;

/// Bytes of extended attributes and link targets that weigh as much as an entry without any.
const XATTRS_PER_WEIGHT: usize = 512;

/// Most entries in one [`Entries`].
pub const MAX_ENTRIES: usize = 1024;

/// Most bytes of extended attributes of one entry, names included.
pub const MAX_XATTRS: usize = 64 * 1024;

/// Most rules in [`TreeOptions`].
pub const MAX_RULES: usize = 1024;

/// Longest glob of a rule, in bytes.
pub const MAX_GLOB: usize = 1024;

/// Most bytes of a file that travels in a pack; a larger one travels alone.
pub const MAX_PACKED: usize = 128 * 1024;

/// Sends a folder to the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushTree {
    /// Where to. Unlike a file, a folder gets DEST's name also when a folder is there already.
    pub dest: Destination,
    /// The folder itself; its name is empty.
    pub root: Entry,
    /// What of it is sent, and how it is compared.
    pub options: TreeOptions,
    /// What becomes of it there.
    pub placement: Placement,
}

/// What both ends of a tree's transfer do beyond copying.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub struct TreeOptions {
    /// The last one that fits a name decides; a name that none fits is included.
    pub rules: Vec<Rule>,
    /// Remove what the source does not have.
    pub delete: bool,
    /// Change nothing, tell what would be changed.
    pub dry_run: bool,
    /// Compare by content, not by size and time.
    pub checksum: bool,
    /// Files that are the same file stay so.
    pub hard_links: bool,
    /// Extended attributes travel.
    pub xattrs: bool,
    /// Owners and groups travel.
    pub owner: bool,
    /// Setuid, setgid and sticky bits travel.
    pub special: bool,
}

/// One `--exclude` or `--include`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Whether what fits is included again.
    pub include: bool,
    /// A glob as in a `.gitignore`.
    pub glob: String,
}

/// A folder's answer to a Pull: the folder itself, whose name is empty. Entries follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The folder.
    pub entry: Entry,
}

/// Entries of the present folder, in rising order of their names' bytes, over all messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    /// At most [`MAX_ENTRIES`].
    pub entries: Vec<Entry>,
    /// The folder has no more; the next message is of the next folder, depth first.
    pub last: bool,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// One component; empty only for the root.
    pub name: Vec<u8>,
    /// Permission bits, 0o7777; setuid, setgid and sticky only if they were asked for.
    pub mode: u32,
    /// Time of last modification.
    pub mtime: Time,
    /// Whose it is, if that was asked for.
    pub owner: Option<Ownership>,
    /// Extended attributes, if they were asked for.
    pub xattrs: Vec<Xattr>,
    /// What it is.
    pub what: What,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// Its BLAKE3, if files are compared by content.
        hash: Option<Hash>,
        /// Whether a later [`What::Same`] may mean it.
        linked: bool,
    },
    /// A folder, whose entries follow depth first.
    Folder,
    /// A symbolic link.
    Link {
        /// Where it leads, as it is.
        target: Vec<u8>,
    },
    /// The same file as an earlier entry.
    Same {
        /// The earlier one's number; it is a file that said so.
        entry: u64,
    },
    /// Something that is not copied: it is there so that nothing is removed in its place.
    Other(FileKind),
}

/// Whose an entry is. A name that the other host knows counts, else the number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The user's name; empty if it has none.
    pub user: String,
    /// The group's name; empty if it has none.
    pub group: String,
}

/// One extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Xattr {
    /// Its name.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// What the receiver wants of one message of entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// Number of the first entry.
    pub first: u64,
    /// An [`Answer`] for each, in order.
    pub answers: Vec<u8>,
}

/// What the receiver wants of an entry. The numbers are the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Answer {
    /// Nothing: it has it, or makes it from the entry alone.
    Nothing = 0,
    /// The file's content; it has nothing of it.
    Content = 1,
    /// The file's content, of which it has something.
    Difference = 2,
}

impl Answer {
    /// Reads the wire's number.
    pub fn from_wire(number: u8) -> Option<Self> {
        [Self::Nothing, Self::Content, Self::Difference].into_iter().find(|a| *a as u8 == number)
    }
}

/// Announces the content of a wanted file that travels alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The entry.
    pub number: u64,
    /// The file as it is now.
    pub offer: Offer,
}

/// Something of the tree could not be read or written. The rest goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// From the sender: the wanted entry whose content does not come, or none if it never was one.
    pub number: Option<u64>,
    /// Why.
    pub failure: Failure,
}

/// Everything is listed, and what was wanted is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Whether all of the source could be read: if not, nothing is removed.
    pub whole: bool,
}

/// All of the tree is there and on disk, but for what was [`Missed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// The root's path, as the receiver resolved it.
    pub path: Vec<u8>,
    /// Files that are there as they should be, whether they came now or were there before.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a dry run would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// At most [`MAX_ENTRIES`].
    pub changes: Vec<Change>,
}

/// One name that a dry run would touch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Relative to the root; empty for the root itself.
    pub path: Vec<u8>,
    /// What would become of it.
    pub kind: ChangeKind,
}

/// What a dry run would do to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeKind {
    /// It is not there.
    Make,
    /// It is something else, or other bytes.
    Change,
    /// Only its mode, time or the like.
    Touch,
    /// The source does not have it.
    Delete,
}

/// What precedes each file's bytes in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedHead {
    /// The wanted entry.
    pub number: u64,
    /// Permission bits, as the file has them now.
    pub mode: u32,
    /// Time of last modification, as it is now.
    pub mtime: Time,
    /// Bytes that follow, at most [`MAX_PACKED`].
    pub len: u32,
    /// Their BLAKE3.
    pub hash: Hash,
}

impl PackedHead {
    /// Encoded length in bytes.
    pub const LEN: usize = 8 + 4 + 8 + 4 + 4 + HASH_LEN;

    /// The head's bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.mode.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.mtime.secs.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.mtime.nanos.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.len.to_le_bytes());
        bytes[28..].copy_from_slice(&self.hash);
        bytes
    }

    /// Reads a head.
    pub fn decode(bytes: &[u8; Self::LEN]) -> Self {
        let (number, rest) = bytes.split_at(8);
        let (mode, rest) = rest.split_at(4);
        let (secs, rest) = rest.split_at(8);
        let (nanos, rest) = rest.split_at(4);
        let (len, hash) = rest.split_at(4);
        let u32_of = |part: &[u8]| u32::from_le_bytes(part.try_into().expect("split at 4 bytes"));
        Self {
            number: u64::from_le_bytes(number.try_into().expect("split at 8 bytes")),
            mode: u32_of(mode),
            mtime: Time {
                secs: i64::from_le_bytes(secs.try_into().expect("split at 8 bytes")),
                nanos: u32_of(nanos),
            },
            len: u32_of(len),
            hash: hash.try_into().expect("32 bytes are left"),
        }
    }
}

const _: () = assert!(PackedHead::LEN + MAX_PACKED <= CHUNK);

/// Why a message of a tree makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTree {
    /// A name or time that no file can have.
    #[error(transparent)]
    Transfer(#[from] BadTransfer),
    /// The root is not a folder, or has a name.
    #[error("a tree's root is a folder without a name")]
    Root,
    /// A link's target is empty, too long, or has a NUL byte.
    #[error("a link's target is empty, over {MAX_PATH} bytes or contains a NUL byte")]
    Target,
    /// Extended attributes are too many, or one has no name.
    #[error("extended attributes are over {MAX_XATTRS} bytes, or have names that can't be")]
    Xattrs,
    /// Too many entries in one message.
    #[error("more than {MAX_ENTRIES} entries in one message")]
    TooMany,
    /// Too many rules, or one too long.
    #[error("more than {MAX_RULES} rules, or a glob over {MAX_GLOB} bytes")]
    Rules,
}

impl PushTree {
    /// Checks what the types alone can't.
    pub fn check(&self) -> Result<(), BadTree> {
        if self.dest.path.len() > MAX_PATH || self.dest.path.contains(&0) {
            return Err(BadTransfer::Path.into());
        }
        check_name(&self.dest.name)?;
        if self.placement.mode.is_some_and(|mode| mode & !0o7777 != 0) {
            return Err(BadTransfer::Mode.into());
        }
        self.options.check()?;
        self.root.check_root()
    }
}

impl TreeOptions {
    /// Checks what the types alone can't.
    pub fn check(&self) -> Result<(), BadTree> {
        let long = |rule: &Rule| rule.glob.len() > MAX_GLOB;
        if self.rules.len() > MAX_RULES || self.rules.iter().any(long) {
            return Err(BadTree::Rules);
        }
        Ok(())
    }
}

impl Entries {
    /// Checks what the types alone can't: each entry by itself.
    pub fn check(&self) -> Result<(), BadTree> {
        if self.entries.len() > MAX_ENTRIES {
            return Err(BadTree::TooMany);
        }
        self.entries.iter().try_for_each(Entry::check)
    }
}

impl Entry {
    /// Checks an entry that is the root.
    pub fn check_root(&self) -> Result<(), BadTree> {
        if !self.name.is_empty() || self.what != What::Folder {
            return Err(BadTree::Root);
        }
        self.check_attributes()
    }

    /// What it counts for in the [`WINDOW`]: 1, and more if it has much to it.
    pub fn weight(&self) -> usize {
        let xattrs: usize = self.xattrs.iter().map(|x| x.name.len() + x.value.len()).sum();
        let target = if let What::Link { target } = &self.what { target.len() } else { 0 };
        1 + (xattrs + target) / XATTRS_PER_WEIGHT
    }

    fn check(&self) -> Result<(), BadTree> {
        check_name(&self.name)?;
        match &self.what {
            What::File { size, .. } if i64::try_from(*size).is_err() => {
                return Err(BadTransfer::Size.into());
            }
            What::Link { target } => {
                if target.is_empty() || target.len() > MAX_PATH || target.contains(&0) {
                    return Err(BadTree::Target);
                }
            }
            What::File { .. } | What::Folder | What::Same { .. } | What::Other(_) => {}
        }
        self.check_attributes()
    }

    fn check_attributes(&self) -> Result<(), BadTree> {
        if self.mode & !0o7777 != 0 {
            return Err(BadTransfer::Mode.into());
        }
        self.mtime.check()?;
        let bad = |xattr: &Xattr| {
            xattr.name.is_empty() || xattr.name.len() > MAX_NAME || xattr.name.contains(&0)
        };
        let len = |xattr: &Xattr| xattr.name.len() + xattr.value.len();
        let total: usize = self.xattrs.iter().map(len).sum();
        if total > MAX_XATTRS || self.xattrs.iter().any(bad) {
            return Err(BadTree::Xattrs);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &[u8], what: What) -> Entry {
        let (mtime, owner) = (Time::default(), None);
        Entry { name: name.to_vec(), mode: 0o644, mtime, owner, xattrs: Vec::new(), what }
    }

    #[test]
    fn a_packed_head_goes_there_and_back() {
        let mtime = Time { secs: -2, nanos: 999_999_999 };
        let head = PackedHead { number: 1 << 40, mode: 0o755, mtime, len: 7, hash: [9; HASH_LEN] };
        assert_eq!(PackedHead::decode(&head.encode()), head);
    }

    #[test]
    fn entries_are_checked_each_by_itself() {
        let check = |entry: Entry| Entries { entries: vec![entry], last: true }.check();
        assert_eq!(check(entry(b"a", What::Folder)), Ok(()));
        for bad in [&b""[..], b".", b"..", b"/etc", b"a/b", b"a\0", &[b'x'; 256]] {
            assert_eq!(check(entry(bad, What::Folder)), Err(BadTransfer::Name.into()));
        }
        let link = |target: &[u8]| check(entry(b"l", What::Link { target: target.to_vec() }));
        assert_eq!(link(b"../../etc/passwd"), Ok(()), "a link leads where it likes");
        for bad in [&b""[..], b"a\0b", &[b'x'; MAX_PATH + 1]] {
            assert_eq!(link(bad), Err(BadTree::Target));
        }
        let bad_mode = Entry { mode: 0o10_000, ..entry(b"a", What::Folder) };
        assert_eq!(check(bad_mode), Err(BadTransfer::Mode.into()));
        let xattr = Xattr { name: b"user.a".to_vec(), value: vec![0; MAX_XATTRS] };
        let large = Entry { xattrs: vec![xattr], ..entry(b"a", What::Folder) };
        assert_eq!(check(large), Err(BadTree::Xattrs));
        let huge = What::File { size: u64::MAX, hash: None, linked: false };
        assert_eq!(check(entry(b"a", huge)), Err(BadTransfer::Size.into()));
    }

    #[test]
    fn a_root_is_a_folder_without_a_name() {
        assert_eq!(entry(b"", What::Folder).check_root(), Ok(()));
        assert_eq!(entry(b"a", What::Folder).check_root(), Err(BadTree::Root));
        let file = What::File { size: 0, hash: None, linked: false };
        assert_eq!(entry(b"", file).check_root(), Err(BadTree::Root));
    }
}
