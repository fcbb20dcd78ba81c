//! What the receiver defers until all contents are there: links, removals, and attributes of directories,
//! whose times change with everything done in them.

use std::collections::HashMap;

use super::order::DirectoryPath;
use crate::metadata::attributes::Attributes;
use lariat_wire::memory::{Charge, Memory};

/// The most bytes that are kept of directories, links and names to be removed: enough for more than a million of
/// them. Without a limit a sender could exhaust the memory.
const MAX_KEPT: usize = 256 * 1024 * 1024;

/// What is left to do. Paths are relative to the root.
#[derive(Default)]
pub(super) struct Deferred {
    /// Directories in the manifest's order.
    pub(super) directories: Vec<Directory>,
    pub(super) links: Vec<SymbolicLink>,
    /// Files that other names may be linked to, by number.
    pub(super) linked: HashMap<u64, Linked>,
    /// Names that become links to the file of this number.
    pub(super) same: Vec<(u64, DirectoryPath, Box<[u8]>)>,
    /// Names that the source does not have.
    pub(super) extra: Vec<(DirectoryPath, Box<[u8]>)>,
    /// Directories, not empty, whose names something else must get.
    pub(super) in_the_way: Vec<(DirectoryPath, Box<[u8]>)>,
    /// An estimate of the bytes that all this takes.
    kept: usize,
    /// Charges them to the sender's memory.
    charge: Charge,
}

/// A directory that gets its attributes.
pub(super) struct Directory {
    pub(super) path: DirectoryPath,
    pub(super) attributes: Attributes,
    /// The attributes are all that changes, so the directory counts as changed.
    pub(super) touched: bool,
}

/// A file that other names may be linked to.
pub(super) struct Linked {
    pub(super) directory: DirectoryPath,
    pub(super) name: Box<[u8]>,
    /// It is up to date already.
    pub(super) stays: bool,
}

/// A symbolic link.
pub(super) struct SymbolicLink {
    pub(super) directory: DirectoryPath,
    pub(super) name: Box<[u8]>,
    pub(super) target: Box<[u8]>,
    pub(super) attributes: Attributes,
}

impl Deferred {
    /// Defers nothing yet. What is kept is charged to `memory`.
    pub(super) fn new(memory: &Memory) -> Self {
        Self { charge: memory.charge(), ..Self::default() }
    }

    /// Whether the limit is reached. `others` are bytes that are kept elsewhere for the same sender.
    pub(super) fn is_full(&mut self, others: usize) -> bool {
        let kept = self.kept.saturating_add(others);
        kept > MAX_KEPT || self.charge.at_least(kept).is_err()
    }

    /// Counts an item with this many bytes beside its own size.
    fn keep(&mut self, bytes: usize) {
        const ITEM: usize = 128;
        self.kept += ITEM + bytes;
    }

    /// Adds a directory.
    pub(super) fn directory(&mut self, directory: Directory) {
        self.keep(directory.path.len() + directory.attributes.weight());
        self.directories.push(directory);
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, link: SymbolicLink) {
        self.keep(link.name.len() + link.target.len() + link.attributes.weight());
        self.links.push(link);
    }

    /// Adds a file that others may be linked to.
    pub(super) fn linked(&mut self, number: u64, linked: Linked) {
        self.keep(linked.name.len());
        self.linked.insert(number, linked);
    }

    /// Adds a name that becomes a link to the file `first`, and returns whether there is such a file.
    pub(super) fn same(&mut self, first: u64, directory: DirectoryPath, name: Box<[u8]>) -> bool {
        let known = self.linked.contains_key(&first);
        if known {
            self.keep(name.len());
            self.same.push((first, directory, name));
        }
        known
    }

    /// Adds a name that the source does not have.
    pub(super) fn extra(&mut self, directory: DirectoryPath, name: Box<[u8]>) {
        self.keep(name.len());
        self.extra.push((directory, name));
    }

    /// Adds a directory, not empty, whose name something else must get.
    pub(super) fn in_the_way(&mut self, directory: DirectoryPath, name: Box<[u8]>) {
        self.keep(name.len());
        self.in_the_way.push((directory, name));
    }
}
