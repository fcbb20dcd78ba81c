//! Whether somebody works on a temporary file: a partial is locked itself, and what belongs to a tree has
//! the tree's root locked above it. A lock is a fact; an age would be a guess.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// Levels that are looked at above a directory: more than a path can have.
const MOST_LEVELS: usize = 4096;

/// Device and inode of a directory.
pub(super) type DirectoryId = (u64, u64);

/// Which directory it is.
pub(super) fn id_of(directory: impl AsFd) -> Result<DirectoryId, Errno> {
    rustix::fs::fstat(directory).map(|stat| (stat.st_dev, stat.st_ino))
}

/// Whether a tree is under way in this directory or around it: one of the directories from here up to the
/// top is locked. `own` is the root of the caller's own tree, which does not count.
pub(super) fn tree_is_under_way(directory: impl AsFd, own: Option<DirectoryId>) -> bool {
    above(directory, own).unwrap_or(false)
}

fn above(directory: impl AsFd, own: Option<DirectoryId>) -> Result<bool, Errno> {
    let mut here = step(directory, ".")?;
    let mut id = id_of(&here)?;
    for _ in 0..MOST_LEVELS {
        if own != Some(id) && is_locked(&here) {
            return Ok(true);
        }
        let parent = step(&here, "..")?;
        let parent_id = id_of(&parent)?;
        if parent_id == id {
            break;
        }
        (here, id) = (parent, parent_id);
    }
    Ok(false)
}

fn step(directory: impl AsFd, to: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, to, flags, Mode::empty())
}

/// A directory that may not be read is not one of our user's trees.
fn is_locked(directory: &OwnedFd) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(open) = rustix::fs::openat(directory, ".", flags, Mode::empty()) else { return false };
    let shared = FlockOperation::NonBlockingLockShared;
    rustix::fs::flock(&open, shared) == Err(Errno::WOULDBLOCK)
}

/// Opens a file and locks it; none if somebody has it locked. It is not waited for.
pub(super) fn lock(directory: impl AsFd, name: &[u8]) -> Result<Option<File>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::openat(directory, name, flags | OFlags::CLOEXEC, Mode::empty())?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(None),
        // A file system that knows no locks has to do without.
        Ok(()) | Err(_) => Ok(Some(file.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_directory_counts_for_all_below_it_but_for_its_own_tree() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        let (inner, beside) = (root.join("a/b"), directory.path().join("beside"));
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::create_dir(&beside).unwrap();
        let open = |path: &std::path::Path| File::open(path).unwrap();
        let under_way = |own| tree_is_under_way(open(&inner), own);
        assert!(!under_way(None));
        let root = open(&root);
        rustix::fs::flock(&root, FlockOperation::LockExclusive).unwrap();
        assert!(under_way(None) && tree_is_under_way(&root, None));
        assert!(!under_way(Some(id_of(&root).unwrap())));
        assert!(!tree_is_under_way(open(&beside), None));
        drop(root);
        assert!(!under_way(None));
    }
}
