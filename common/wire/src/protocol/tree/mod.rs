//! Messages of a tree's transfer: a manifest streams one way, the receiver answers what it wants, and
//! contents follow without waiting for each other.
//!
//! ```text
//! sender                                receiver
//!   Root (a push carries it in PushTree) →
//!   Entries...    directory by directory       →
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
//! Entries are numbered from 1 in the order in which they are sent; 0 is the root. The order also tells which
//! directory an entry is in: docs/PROTOCOL.md, section 7.

mod check;
mod packed;

use lariat_base::name::TransferId;
use serde::{Deserialize, Serialize};

pub use crate::limits::{MAX_ENTRIES, MAX_GLOB, MAX_RULES};
pub use packed::PackedHead;

use crate::protocol::failure::{Failure, FileKind};
use crate::protocol::metadata::{Metadata, Preserve};
use crate::protocol::transfer::{Destination, Hash, Offer, Overrides};

/// Most weight of unsettled entries: those that were sent, and neither answered with [`Answer::Nothing`] nor
/// followed by their content. It bounds what both ends keep in memory, and suffices for 100,000 entries a
/// second over a network of 150 ms.
pub const WINDOW: usize = 16 * 1024;

/// Most weight of one [`Entries`]: see [`Entry::weight`].
pub const MAX_MESSAGE_WEIGHT: usize = MAX_ENTRIES + crate::limits::MAX_MESSAGE / XATTRS_PER_WEIGHT;

/// Bytes of extended attributes and link targets that weigh as much as a plain entry.
const XATTRS_PER_WEIGHT: usize = 512;

/// Longest file that is sent in a pack, in bytes; a larger one is sent by itself.
pub const MAX_PACKED: usize = 128 * 1024;

/// Sends a directory to the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushTree {
    /// The transfer. The newest request for a destination cancels an older one, unless both are of the same
    /// transfer.
    pub transfer: TransferId,
    /// Where it goes.
    pub dest: Destination,
    /// The directory itself, with an empty name. In a dry run also a file, whose content is not sent.
    pub root: Entry,
    /// What is sent of it, and how it is compared.
    pub options: TreeOptions,
    /// Options for the tree at its destination.
    pub overrides: Overrides,
    /// The user that the work is done as, if not the agent's own.
    pub user: Option<String>,
}

/// Options of a tree's transfer, for both ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub struct TreeOptions {
    /// The last rule that matches a name decides; a name that none matches is included.
    pub rules: Vec<Rule>,
    /// The paths below the root to send, directories with all their contents. If empty, everything is sent.
    pub only: Vec<Vec<u8>>,
    /// Remove names that the source does not have.
    pub delete: bool,
    /// Remove nothing if that would be more than this many names.
    pub max_delete: Option<u64>,
    /// Change nothing, but report what would be changed.
    pub dry_run: bool,
    /// Compare by content, not by size and time.
    pub checksum: bool,
    /// Preserve hard links between files.
    pub hard_links: bool,
    /// Which metadata is sent.
    pub preserve: Preserve,
    /// The seed of the sums of packs.
    pub seed: u64,
}

/// One `--exclude` or `--include`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Whether matching names are included again.
    pub include: bool,
    /// A glob with the syntax of `.gitignore`.
    pub glob: String,
}

/// Answers a Pull of a directory with the directory itself, whose name is empty; entries follow. In a dry run
/// also answers for a file, and nothing follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The directory or file.
    pub entry: Entry,
}

/// Entries of the current directory, sorted by the bytes of their names across all messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    /// At most [`MAX_ENTRIES`].
    pub entries: Vec<Entry>,
    /// Whether the directory is complete. The next message is of the next directory, depth first.
    pub last: bool,
}

impl Entries {
    /// Total bytes of the files among them.
    pub fn size(&self) -> u64 {
        let sizes = self.entries.iter().filter_map(|entry| entry.what.size());
        sizes.fold(0, u64::saturating_add)
    }
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// One component; empty only for the root.
    pub name: Vec<u8>,
    /// Its metadata.
    pub metadata: Metadata,
    /// What it is.
    pub what: What,
}

impl Entry {
    /// Its weight in the [`WINDOW`]: 1, and more if it has many attributes or a long link target.
    pub fn weight(&self) -> usize {
        let xattrs = self.metadata.xattrs_len();
        let target = if let What::Link { target } = &self.what { target.len() } else { 0 };
        1 + (xattrs + target) / XATTRS_PER_WEIGHT
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A regular file.
    File {
        /// Length in bytes.
        size: u64,
        /// Its BLAKE3, if files are compared by content.
        hash: Option<Hash>,
        /// Whether a later [`What::Same`] may refer to it.
        linked: bool,
    },
    /// A directory, whose entries follow depth first.
    Directory,
    /// A symbolic link.
    Link {
        /// The link's target, unchanged.
        target: Vec<u8>,
    },
    /// A hard link to the file of an earlier entry.
    Same {
        /// The earlier entry's number; that entry is a file marked `linked`.
        entry: u64,
    },
    /// Something that is not copied. It is listed so that the receiver removes nothing in its place.
    Other(FileKind),
}

impl What {
    /// The length of a file in bytes.
    pub fn size(&self) -> Option<u64> {
        if let Self::File { size, .. } = self { Some(*size) } else { None }
    }
}

/// What the receiver wants of one message of entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// Number of the first entry.
    pub first: u64,
    /// An [`Answer`] for each entry, in order.
    pub answers: Vec<u8>,
}

/// What the receiver wants of an entry. The numbers are the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Answer {
    /// Nothing: the receiver has it, or makes it from the entry alone.
    Nothing = 0,
    /// The file's content; the receiver has nothing of it.
    Content = 1,
    /// The file's content, of which the receiver has a part.
    Difference = 2,
}

impl Answer {
    /// Decodes the wire's number.
    pub fn from_wire(number: u8) -> Option<Self> {
        [Self::Nothing, Self::Content, Self::Difference].into_iter().find(|a| *a as u8 == number)
    }
}

/// Announces the content of a wanted file that is too large for a pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The entry.
    pub number: u64,
    /// The file as it is now.
    pub offer: Offer,
}

/// Reports that a part of the tree could not be read or written. The rest goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// From the sender: the wanted entry whose content will not come; `None` if the name never was an entry.
    pub number: Option<u64>,
    /// Why.
    pub failure: Failure,
}

/// Everything is listed, and what was wanted is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Whether all of the source could be read. If not, nothing is removed.
    pub whole: bool,
}

/// The whole tree is on disk, except for what was [`Missed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// The root's path, as the receiver resolved it, for the receiver's own log. It is not sent.
    #[serde(skip)]
    pub path: Vec<u8>,
    /// Files that exist as they should, whether they were sent now or existed before.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// What was changed, or would be in a dry run.
    pub done: Changed,
}

/// How many names a transfer changed, or would change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Files that were created, or whose content, mode, time or other metadata changed.
    pub files: u64,
    /// Directories and symbolic links that were created, or whose target, mode, time or other metadata
    /// changed.
    pub others: u64,
    /// Names that were removed.
    pub deleted: u64,
}

impl Changed {
    /// The counts for a single file.
    pub fn file(changed: bool) -> Self {
        Self { files: u64::from(changed), ..Self::default() }
    }

    /// Whether nothing was changed.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl std::ops::AddAssign for Changed {
    fn add_assign(&mut self, other: Self) {
        self.files = self.files.saturating_add(other.files);
        self.others = self.others.saturating_add(other.others);
        self.deleted = self.deleted.saturating_add(other.deleted);
    }
}

/// What a run would do, reported by a dry run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// At most [`MAX_ENTRIES`].
    pub changes: Vec<Change>,
}

/// One name that a run would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The whole path, as the receiver resolved it.
    pub path: Vec<u8>,
    /// The change.
    pub kind: ChangeKind,
}

/// What a run would do to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeKind {
    /// Create it: nothing has the name.
    Make,
    /// Change its type or content.
    Change,
    /// Change only its mode, time or other metadata.
    Touch,
    /// Delete it: the source does not have it.
    Delete,
}
