//! Words of a tree's transfer: a manifest streams one way, what is wanted of it comes back, and
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
//! Entries are counted from 1 in the order in which they are sent; 0 is the root. Which directory they
//! are in follows from their order: docs/PROTOCOL.md, section 7.

mod check;
mod packed;

use lariat_base::name::TransferId;
use serde::{Deserialize, Serialize};

pub use crate::limits::{MAX_ENTRIES, MAX_GLOB, MAX_RULES};
pub use packed::PackedHead;

use crate::protocol::failure::{Failure, FileKind};
use crate::protocol::metadata::{Metadata, Preserve};
use crate::protocol::transfer::{Destination, Hash, Offer, Overrides};

/// What entries may weigh that are unsettled: sent, and neither answered with [`Answer::Nothing`] nor
/// followed by their content. It bounds what both ends keep in memory, and is enough for 100,000 entries a second
/// over a network of 150 ms.
pub const WINDOW: usize = 16 * 1024;

/// Most that one [`Entries`] weighs: see [`Entry::weight`].
pub const MAX_MESSAGE_WEIGHT: usize = MAX_ENTRIES + crate::limits::MAX_MESSAGE / XATTRS_PER_WEIGHT;

/// Bytes of extended attributes and link targets that weigh as much as an entry without any.
const XATTRS_PER_WEIGHT: usize = 512;

/// Most bytes of a file that travels in a pack; a larger one travels alone.
pub const MAX_PACKED: usize = 128 * 1024;

/// Sends a directory to the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushTree {
    /// The transfer. The newest request for a destination ends an older one, unless that is of the same
    /// transfer.
    pub transfer: TransferId,
    /// Where to.
    pub dest: Destination,
    /// The directory itself; its name is empty. In a dry run also a file, of which nothing is sent.
    pub root: Entry,
    /// What of it is sent, and how it is compared.
    pub options: TreeOptions,
    /// What becomes of it there.
    pub overrides: Overrides,
    /// Whose rights it is done with, if not with those of the agent's own user.
    pub user: Option<String>,
}

/// What both ends of a tree's transfer do beyond copying.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub struct TreeOptions {
    /// The last one that fits a name decides; a name that none fits is included.
    pub rules: Vec<Rule>,
    /// Paths below the root that are sent, directories with all that is in them; all, if there are none.
    pub only: Vec<Vec<u8>>,
    /// Remove what the source does not have.
    pub delete: bool,
    /// Remove nothing if that would be more than this many names.
    pub max_delete: Option<u64>,
    /// Change nothing, tell what would be changed.
    pub dry_run: bool,
    /// Compare by content, not by size and time.
    pub checksum: bool,
    /// Files that are the same file stay so.
    pub hard_links: bool,
    /// Which metadata travels.
    pub preserve: Preserve,
    /// Of the sums of packs.
    pub seed: u64,
}

/// One `--exclude` or `--include`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Whether what fits is included again.
    pub include: bool,
    /// A glob as in a `.gitignore`.
    pub glob: String,
}

/// A directory's answer to a Pull: the directory itself, whose name is empty. Entries follow. In a dry run
/// also a file's, and nothing follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The directory or file.
    pub entry: Entry,
}

/// Entries of the present directory, in rising order of their names' bytes, over all messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    /// At most [`MAX_ENTRIES`].
    pub entries: Vec<Entry>,
    /// The directory has no more; the next message is of the next directory, depth first.
    pub last: bool,
}

impl Entries {
    /// Bytes of all files among them.
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
    /// What it is beyond its content.
    pub metadata: Metadata,
    /// What it is.
    pub what: What,
}

impl Entry {
    /// What it counts for in the [`WINDOW`]: 1, and more if it has much to it.
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
        /// Bytes.
        size: u64,
        /// Its BLAKE3, if files are compared by content.
        hash: Option<Hash>,
        /// Whether a later [`What::Same`] may mean it.
        linked: bool,
    },
    /// A directory, whose entries follow depth first.
    Directory,
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

impl What {
    /// Bytes of a file.
    pub fn size(&self) -> Option<u64> {
        if let Self::File { size, .. } = self { Some(*size) } else { None }
    }
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
    /// The root's path, as the receiver resolved it: for the receiver's own log. It does not travel.
    #[serde(skip)]
    pub path: Vec<u8>,
    /// Files that exist as they should, whether they came now or existed before.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What was done to get there, or would be, in a dry run.
    pub done: Changed,
}

/// How many names a transfer changed, or would change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Files that were made, or got another content, mode, time or the like.
    pub files: u64,
    /// Directories and symbolic links that were made, or got another target, mode, time or the like.
    pub others: u64,
    /// Names that were removed.
    pub deleted: u64,
}

impl Changed {
    /// Of a file that goes alone.
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

/// What a dry run would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// At most [`MAX_ENTRIES`].
    pub changes: Vec<Change>,
}

/// One name that a dry run would touch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The whole path, as the receiver resolved it.
    pub path: Vec<u8>,
    /// What would become of it.
    pub kind: ChangeKind,
}

/// What a dry run would do to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeKind {
    /// Nothing has the name.
    Make,
    /// It is something else, or other bytes.
    Change,
    /// Only its mode, time or the like.
    Touch,
    /// The source does not have it.
    Delete,
}
