//! Whether a transfer uses a temporary file: it has locked the partial itself, or for a tree's files the root of
//! the tree above them.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// Levels above a directory that are examined: more than a path can have.
const MAX_LEVELS: usize = 4096;

/// Device and inode of a directory.
pub(crate) type DirectoryId = (u64, u64);

/// Identifies an open directory.
pub(crate) fn id_of(directory: impl AsFd) -> Result<DirectoryId, Errno> {
    rustix::fs::fstat(directory).map(|stat| (stat.st_dev, stat.st_ino))
}

/// Whether a transfer of a tree that includes this directory is under way: the directory or one above it is
/// locked. `own` is the root of the caller's own tree, which does not count.
pub(crate) fn tree_is_under_way(directory: impl AsFd, own: Option<DirectoryId>) -> bool {
    above(directory, own).unwrap_or(false)
}

fn above(directory: impl AsFd, own: Option<DirectoryId>) -> Result<bool, Errno> {
    let mut here = step(directory, ".")?;
    let mut id = id_of(&here)?;
    for _ in 0..MAX_LEVELS {
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

/// A directory that may not be read is no tree of this user.
fn is_locked(directory: &OwnedFd) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(open) = rustix::fs::openat(directory, ".", flags, Mode::empty()) else { return false };
    let shared = FlockOperation::NonBlockingLockShared;
    rustix::fs::flock(&open, shared) == Err(Errno::WOULDBLOCK)
}

/// Opens a file and locks it, without waiting. `None` if it is locked already.
pub(crate) fn lock(directory: impl AsFd, name: &[u8]) -> Result<Option<File>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::openat(directory, name, flags | OFlags::CLOEXEC, Mode::empty())?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(None),
        // Some file systems have no locks.
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
