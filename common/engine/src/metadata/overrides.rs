//! What the operator sets on received files in place of what the sender's files have.

use lariat_wire::protocol::transfer::ModeChange;

/// The operator's overrides, with names of users and groups resolved on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedOverrides {
    /// A change of the source's permission bits, of files.
    pub mode: Option<ModeChange>,
    /// A change of the source's permission bits, of directories.
    pub directory_mode: Option<ModeChange>,
    /// Owner in place of the replaced file's.
    pub user: Option<u32>,
    /// Group in place of the replaced file's.
    pub group: Option<u32>,
    /// Keep what is replaced or removed under its name with `~` appended.
    pub backup: bool,
    /// Write into existing files instead of replacing them.
    pub in_place: bool,
    /// Read what was written back from the disk, and compare its hash with the sender's.
    pub verify: bool,
}
