//! `--backup`: replaced and removed files are kept under their names with `~` appended.

use std::os::fd::BorrowedFd;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::error::sys_failed;
use lariat_wire::protocol::failure::{Action, Failure};

/// Whether a name is that of a backup. `--backup` spares these, or the next transfer would remove what the last
/// one kept.
pub(crate) fn is_backup(name: &[u8]) -> bool {
    name.ends_with(b"~")
}

/// Links a file that is about to be replaced to its backup's name. Its own name never disappears.
pub(crate) fn keep(directory: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<(), Failure> {
    let backup = backup_of(name);
    let link =
        || rustix::fs::linkat(directory, name, directory, backup.as_slice(), AtFlags::empty());
    let linked = match link() {
        Err(Errno::EXIST) => rustix::fs::unlinkat(directory, backup.as_slice(), AtFlags::empty())
            .and_then(|()| link()),
        linked => linked,
    };
    match linked {
        // There is nothing to keep.
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(sys_failed(Action::Create, &backup_of(path))(errno)),
    }
}

/// Renames to its backup's name what can't be linked, a directory, or what is removed and not replaced. An older
/// backup is replaced, unless it is a directory that is not empty.
pub(crate) fn move_away(
    directory: BorrowedFd<'_>,
    name: &[u8],
    path: &[u8],
) -> Result<(), Failure> {
    let backup = backup_of(name);
    let rename = || rustix::fs::renameat(directory, name, directory, backup.as_slice());
    let moved = match rename() {
        // rename(2) does not replace a file by a directory.
        Err(Errno::NOTDIR) => rustix::fs::unlinkat(directory, backup.as_slice(), AtFlags::empty())
            .and_then(|()| rename()),
        moved => moved,
    };
    moved.map_err(sys_failed(Action::Create, &backup_of(path)))
}

fn backup_of(name: &[u8]) -> Vec<u8> {
    [name, b"~"].concat()
}
