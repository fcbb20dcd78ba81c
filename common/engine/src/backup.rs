//! `--backup`: what is replaced or removed stays, under its name with `~` behind it.

use std::os::fd::BorrowedFd;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::error::sys_failed;
use lariat_wire::protocol::failure::{Action, Failure};

/// Whether a name is one that a backup has. Nothing removes it where backups are asked for, else the next
/// transfer would take what the last one kept.
pub(super) fn is_backup(name: &[u8]) -> bool {
    name.ends_with(b"~")
}

/// Gives what is about to be replaced a second name, so that there is no instant without the first.
pub(super) fn keep(directory: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<(), Failure> {
    let backup = backup_of(name);
    let link =
        || rustix::fs::linkat(directory, name, directory, backup.as_slice(), AtFlags::empty());
    let linked = match link() {
        Err(Errno::EXIST) => rustix::fs::unlinkat(directory, backup.as_slice(), AtFlags::empty())
            .and_then(|()| link()),
        linked => linked,
    };
    match linked {
        // Nothing is there, or not any more.
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(sys_failed(Action::Create, &backup_of(path))(errno)),
    }
}

/// Moves out of the way what can't have a second name, a directory, or what nothing takes the place of. An
/// older backup gives way, unless it is a directory with something in it.
pub(super) fn move_away(
    directory: BorrowedFd<'_>,
    name: &[u8],
    path: &[u8],
) -> Result<(), Failure> {
    let backup = backup_of(name);
    let rename = || rustix::fs::renameat(directory, name, directory, backup.as_slice());
    let moved = match rename() {
        // A directory replaces no file by itself.
        Err(Errno::NOTDIR) => rustix::fs::unlinkat(directory, backup.as_slice(), AtFlags::empty())
            .and_then(|()| rename()),
        moved => moved,
    };
    moved.map_err(sys_failed(Action::Create, &backup_of(path)))
}

fn backup_of(name: &[u8]) -> Vec<u8> {
    [name, b"~"].concat()
}
