//! Private files in a directory that others may write to: partials and journals. A file is opened only if
//! nobody else can have made it, and created anew otherwise; it is locked while it is in use.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::owner::Busy;
use crate::destination::Place;
use crate::error::{failed, sys_failed};
use lariat_wire::protocol::failure::{Action, Cause, Failure};

/// Attempts to open a file that other processes keep renaming or removing.
const ATTEMPTS: usize = 16;

/// Opens a private file, or creates it, and locks it.
pub(crate) fn open_locked(
    place: &Place,
    name: &str,
    user: u32,
    busy: Busy,
) -> Result<File, Failure> {
    let path = place.path();
    let bytes = path.as_os_str().as_bytes();
    for _ in 0..ATTEMPTS {
        let opened = match open(place, name, OFlags::empty(), user) {
            Ok(None) => create(place, name),
            Ok(Some(file)) => Ok(file),
            Err(error) => Err(error),
        };
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            opened => opened.map_err(failed(Action::Create, bytes))?,
        };
        let lock = match busy {
            Busy::Wait => FlockOperation::LockExclusive,
            Busy::Refuse => FlockOperation::NonBlockingLockExclusive,
        };
        match rustix::fs::flock(&file, lock) {
            Ok(()) => {}
            Err(Errno::INTR) => continue,
            Err(Errno::WOULDBLOCK) => return Err(held(bytes)),
            Err(errno) => return Err(sys_failed(Action::Open, bytes)(errno)),
        }
        // The transfer that held it may have renamed it meanwhile.
        if is_at(&place.directory, name.as_bytes(), &file).map_err(failed(Action::Open, bytes))? {
            return Ok(file);
        }
    }
    Err(held(bytes))
}

/// Renames a locked private file to `aside`, and puts an empty locked file in its place, which is returned:
/// later attempts wait for that lock, whatever becomes of the file's attributes. `None` if the file system can't
/// exchange names; the file keeps its name then.
///
/// The lock on `name` covers `aside`.
pub(crate) fn rename_aside(place: &Place, name: &str, aside: &str) -> io::Result<Option<File>> {
    for _ in 0..ATTEMPTS {
        remove(place, aside);
        // The disk may be full.
        let Ok(guard) = create(place, aside) else { return Ok(None) };
        let exchanged = rustix::fs::flock(&guard, FlockOperation::NonBlockingLockExclusive)
            .and_then(|()| {
                let (directory, flags) = (&place.directory, RenameFlags::EXCHANGE);
                rustix::fs::renameat_with(directory, name, directory, aside, flags)
            });
        match exchanged {
            Ok(()) => return Ok(Some(guard)),
            // A sweep locked or removed the new file first.
            Err(Errno::WOULDBLOCK | Errno::NOENT) => {}
            Err(errno) => {
                remove(place, aside);
                let unknown = matches!(errno, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP);
                return if unknown { Ok(None) } else { Err(errno.into()) };
            }
        }
    }
    remove(place, aside);
    Err(Errno::BUSY.into())
}

/// Whether an open file still has this name.
pub(crate) fn is_at(directory: impl AsFd, name: &[u8], file: &File) -> io::Result<bool> {
    let here = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(false),
        here => here?,
    };
    let metadata = file.metadata()?;
    Ok((here.st_dev, here.st_ino) == (metadata.dev(), metadata.ino()))
}

/// The failure of a file that lost its name: somebody removed it or its directory, or another transfer has
/// replaced it.
pub(crate) fn taken_away(place: &Place, name: &str, path: &[u8]) -> Failure {
    match rustix::fs::statat(&place.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => held(path),
        Err(errno) => sys_failed(Action::Rename, path)(errno),
    }
}

/// Whether only a transfer for this user can have made a file: nobody else may write to it or give it away.
pub(crate) fn is_ours(stat: &Stat, user: u32) -> bool {
    let is_file = FileType::from_raw_mode(stat.st_mode).is_file();
    let private = stat.st_mode & 0o7777 == 0o600 && stat.st_nlink == 1;
    is_file && private && stat.st_uid == user
}

/// The failure of a destination that another transfer holds.
pub(crate) fn held(path: &[u8]) -> Failure {
    let cause = Cause::BadRequest("another transfer to it is under way".to_owned());
    Failure { action: Action::Create, path: Some(path.to_vec()), cause }
}

/// Opens the private file of an earlier attempt. Anything else of that name is removed.
pub(crate) fn open(
    place: &Place,
    name: &str,
    flags: OFlags,
    user: u32,
) -> io::Result<Option<File>> {
    let flags = flags | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(&place.directory, name, flags, Mode::empty()) {
        Ok(file) => {
            let file = File::from(file);
            if is_ours(&rustix::fs::fstat(&file)?, user) {
                return Ok(Some(file));
            }
            // Its holder has renamed it aside: another file has the name by now.
            if !is_at(&place.directory, name.as_bytes(), &file)? {
                return Ok(None);
            }
        }
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::NXIO | Errno::ISDIR | Errno::ACCESS) => {}
        Err(errno) => return Err(errno.into()),
    }
    match rustix::fs::unlinkat(&place.directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Creates a file with mode 0600. An existing one is an error.
pub(crate) fn create(place: &Place, name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    Ok(rustix::fs::openat(&place.directory, name, flags, mode)?.into())
}

/// Removes a file, if it exists.
pub(crate) fn remove(place: &Place, name: &str) {
    // A file that stays does no harm: its content is always verified.
    let _ = rustix::fs::unlinkat(&place.directory, name, AtFlags::empty());
}
