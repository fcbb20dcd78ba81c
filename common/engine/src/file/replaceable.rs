//! Which names a file may replace.

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::confined::Dir;
use crate::error::sys_failed;
use crate::metadata::kind::{file_kind, not_a_file};
use lariat_wire::protocol::failure::{Action, Failure, FileKind};

/// Refuses a destination that a rename would wrongly replace. A link is replaced itself, as rename(2)
/// and rsync do, unless it leads to something that is not a file, such as `/dev/stdout`. Where a link leads is not
/// told of one that is below a root.
pub(crate) fn check(directory: &Dir, name: &[u8], path: &[u8]) -> Result<(), Failure> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => match file_kind(&stat) {
            None => Ok(()),
            Some(FileKind::Symlink) if directory.is_strict() => Ok(()),
            Some(FileKind::Symlink) => check_link(directory, name, path),
            Some(kind) => Err(not_a_file(path, kind)),
        },
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(sys_failed(Action::Open, path)(errno)),
    }
}

fn check_link(directory: &Dir, name: &[u8], path: &[u8]) -> Result<(), Failure> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    // A magic link of proc(5) leads to whatever a process has open.
    match openat2(directory, name, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS) {
        Ok(end) => match rustix::fs::fstat(&end).map(|stat| file_kind(&stat)) {
            Ok(None) => Ok(()),
            Ok(Some(kind)) => Err(not_a_file(path, kind)),
            Err(errno) => Err(sys_failed(Action::Open, path)(errno)),
        },
        Err(Errno::LOOP) => Err(not_a_file(path, FileKind::Symlink)),
        // It leads nowhere, or nowhere that this process may see.
        Err(_) => Ok(()),
    }
}
