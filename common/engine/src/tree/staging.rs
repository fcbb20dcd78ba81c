//! Staged files: complete files under temporary names, which wait for their final rename.
//!
//! While there may be any, the root contains a marker, so that after a kill the next attempt looks for them.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::clean;
use crate::confined::Dir;
use crate::file::Owner;
use crate::file::in_use::DirectoryId;
use crate::file::temporary::TreeNames;

/// The names of a tree's staged files, and the marker in its root.
pub(super) struct Staging {
    names: TreeNames,
    /// The root is locked for this tree, so another attempt finds these files by their names.
    locked: bool,
    /// Whether the root contains the marker.
    marked: AtomicBool,
    /// A staged file could not be removed.
    stuck: AtomicBool,
}

impl Staging {
    /// For a tree with this root.
    pub(super) fn new(root: &Dir, owner: Owner, locked: bool) -> io::Result<Self> {
        let names = if locked {
            TreeNames::of_root(owner, &root.stat_self()?)
        } else {
            TreeNames::random(owner)?
        };
        let marked = locked && root.stat(&names.marker())?.is_some();
        Ok(Self { names, locked, marked: AtomicBool::new(marked), stuck: AtomicBool::new(false) })
    }

    /// Removes the staged files of an attempt that was killed.
    pub(super) fn collect(&self, root: &Dir, owner: Owner, id: DirectoryId) {
        if self.locked && self.marked.load(Ordering::Relaxed) {
            // Files that stay do no harm.
            clean::staged(root, owner, id);
        }
    }

    /// The temporary name of a file. From now on the root contains the marker.
    pub(super) fn stage(&self, root: &Dir, name: &[u8]) -> Vec<u8> {
        if self.locked && !self.marked.swap(true, Ordering::Relaxed) {
            // Without the marker a staged file is found again only by another transfer of the same name.
            let _ = root.create_file(&self.names.marker());
        }
        self.names.staged(name)
    }

    /// Removes a staged file.
    pub(super) fn unstage(&self, directory: &Dir, staged: &[u8]) {
        if directory.remove(staged).is_err() {
            self.stuck.store(true, Ordering::Relaxed);
        }
    }

    /// Removes the marker. No staged file is left.
    pub(super) fn end(&self, root: &Dir) {
        let stuck = self.stuck.load(Ordering::Relaxed);
        if self.locked && !stuck && self.marked.swap(false, Ordering::Relaxed) {
            // A marker that stays costs the next attempt a search.
            let _ = root.remove(&self.names.marker());
        }
    }
}
