//! What the receiver decides about entries of the manifest.

use super::order::DirectoryPath;
use crate::metadata::attributes::Attributes;
use lariat_wire::protocol::failure::FileKind;
use lariat_wire::protocol::transfer::Hash;
use lariat_wire::protocol::tree::{Answers, Change, Changed};

/// The decisions about one message of entries.
#[derive(Default)]
pub(super) struct Decided {
    pub(super) answers: Option<Answers>,
    /// Wanted files by number.
    pub(super) wanted: Vec<(u64, Wanted)>,
    /// The weight of entries that the answers settle.
    pub(super) weight: usize,
    pub(super) changes: Vec<Change>,
    pub(super) skipped: Vec<(Vec<u8>, FileKind)>,
    /// Names that an earlier source has brought.
    pub(super) taken: Vec<Vec<u8>>,
    /// Names whose ACLs are not transferred.
    pub(super) without_acl: Vec<Vec<u8>>,
    /// Files that are up to date, or in a dry run all files, and their bytes.
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// What was changed at once, or in a dry run would be.
    pub(super) done: Changed,
}

/// A file whose content is wanted.
#[derive(Clone)]
#[allow(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
pub(super) struct Wanted {
    pub(super) directory: DirectoryPath,
    pub(super) name: Box<[u8]>,
    pub(super) attributes: Attributes,
    /// The sender's hash of its content, if the manifest has it.
    pub(super) hash: Option<Hash>,
    /// It replaces something.
    pub(super) replaces: bool,
    /// A directory has its name, which is removed at the very end.
    pub(super) clears: bool,
    /// The answer said that the receiver has a part of it.
    pub(super) difference: bool,
    /// The manifest said that its ACL is dropped.
    pub(super) acl_reported: bool,
    /// Its number, if other names may be linked to it.
    pub(super) linked: Option<u64>,
    pub(super) weight: usize,
}

/// The state of a directory at the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DirectoryState {
    /// It existed.
    Old,
    /// It was just made.
    New,
    /// A dry run would make it.
    Imagined,
    /// It could not be made. For its entries that is not reported again.
    Lost,
}

/// A manifest that is refused.
#[derive(Debug)]
pub(super) enum BadManifest {
    /// It breaks a rule.
    Wrong(&'static str),
    /// It has more directories and links than are kept.
    TooMuch,
}
