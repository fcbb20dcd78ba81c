//! From a complete partial to a file under its name: metadata, disk, name, folder, in that order, so
//! that a crash at any instant leaves the old file or the new one.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::attributes::{Attributes, Translator};
use super::backup;
use super::destination::Place;
use super::error::{failed, sys_failed};
use super::own;
use crate::protocol::failure::{Action, Failure};
use crate::protocol::metadata::{Metadata, Travels};

/// What the operator gives received files beyond their content, names resolved on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finish {
    /// Permission bits in place of the source's.
    pub mode: Option<u32>,
    /// Owner, in place of the replaced file's.
    pub user: Option<u32>,
    /// Group, in place of the replaced file's.
    pub group: Option<u32>,
    /// Keep what is replaced or removed, under its name with `~` behind it.
    pub backup: bool,
    /// Write into files that are there instead of replacing them.
    pub in_place: bool,
}

/// What one file gets beyond its content: what the operator gives, and what of the source travels.
#[derive(Clone, Debug)]
pub struct Placing {
    pub(super) attributes: Attributes,
    pub(super) backup: bool,
    /// The operator gave the mode.
    pub(super) given_mode: bool,
}

impl Placing {
    /// Of a file that is described so. May ask a directory service for the owner.
    pub fn new(finish: &Finish, travels: Travels, metadata: Metadata) -> Self {
        let attributes = Translator::new(travels, finish.clone()).attributes(metadata, true);
        Self { attributes, backup: finish.backup, given_mode: finish.mode.is_some() }
    }
}

/// When a complete file is forced to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    /// Before it gets its name.
    First,
    /// Together with the tree that it is new in.
    WithItsTree,
}

/// Gives the file its metadata and, once it is on disk, its name.
pub(super) fn commit(
    file: &File,
    part: &str,
    place: &Place,
    size: u64,
    placing: &Placing,
    sync: Sync,
) -> Result<(), Failure> {
    let path = place.path();
    let bytes = path.as_os_str().as_bytes();
    // Zeros at the end may have been left out, and a longer file's rest may still be there.
    file.set_len(size).map_err(failed(Action::Write, bytes))?;
    inherit(file, place.folder.as_fd(), &place.name);
    placing.attributes.set(file, bytes)?;
    if sync == Sync::First {
        file.sync_all().map_err(failed(Action::Sync, bytes))?;
    }
    if placing.backup {
        backup::keep(place.folder.as_fd(), &place.name, bytes)?;
    }
    if !own::is_at(place, part, file).map_err(failed(Action::Rename, bytes))? {
        return Err(own::taken_away(place, part, bytes));
    }
    let folder = place.folder.as_fd();
    rustix::fs::renameat(folder, part, folder, place.name.as_slice())
        .map_err(sys_failed(Action::Rename, bytes))
}

/// Forces the folder to disk, and with it the file's name.
pub(super) fn sync_folder(place: &Place, file: &File) -> Result<(), Failure> {
    let path = place.folder_path.as_os_str().as_bytes();
    let synced = match rustix::fs::fsync(&place.folder) {
        // A folder that may not be read can't be forced to disk by itself; all that is on the file's disk can.
        Err(Errno::BADF) => rustix::fs::syncfs(file),
        synced => synced,
    };
    synced.map_err(sys_failed(Action::Sync, path))
}

/// A replaced file's owner, group and extended attributes stay as they were, as far as we may.
pub(super) fn inherit(file: &File, folder: BorrowedFd<'_>, name: &[u8]) {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let Ok(old) = rustix::fs::openat(folder, name, flags, Mode::empty()) else { return };
    let old = File::from(old);
    let (Ok(was), Ok(is)) = (old.metadata(), file.metadata()) else { return };
    if (was.uid(), was.gid()) != (is.uid(), is.gid()) {
        let _ = std::os::unix::fs::fchown(file, Some(was.uid()), Some(was.gid()));
    }
    copy_attributes(&old, file);
}

/// Copies extended attributes, but the one that gives a program rights: the kernel itself takes that
/// away from a file whose content changes.
fn copy_attributes(from: &File, to: &File) {
    const CAPABILITY: &[u8] = b"security.capability";
    let Ok(len @ 1..) = rustix::fs::flistxattr_query(from) else { return };
    let mut names = vec![0; len];
    let Ok(len) = rustix::fs::flistxattr(from, &mut names[..]) else { return };
    let mut value = vec![0; 64 * 1024];
    for name in names[..len].split(|&b| b == 0) {
        if name.is_empty() || name == CAPABILITY {
            continue;
        }
        if let Ok(len) = rustix::fs::fgetxattr(from, name, &mut value[..]) {
            let flags = rustix::fs::XattrFlags::empty();
            let _ = rustix::fs::fsetxattr(to, name, &value[..len], flags);
        }
    }
}
