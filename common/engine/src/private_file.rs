//! Files of our own in a directory that may not be only ours: opened when they are surely ours, made
//! anew otherwise, locked while they are used.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::destination::Place;
use super::error::{failed, sys_failed};
use super::partial::Busy;
use lariat_wire::protocol::failure::{Action, Cause, Failure};

/// Times that a file is looked for anew when another process takes it away meanwhile.
const ATTEMPTS: usize = 16;

/// Opens a file of ours, or makes it, and locks it.
pub(super) fn open_locked(
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
        // Whoever held it may have finished, and given it its name, while we waited.
        if is_at(place, name, &file).map_err(failed(Action::Open, bytes))? {
            return Ok(file);
        }
    }
    Err(held(bytes))
}

/// Puts a locked file of ours aside under another name, and in its place an empty one that is locked
/// too and returned: later attempts go on waiting, whatever the file looks like from then on. `None`
/// where names can't be exchanged; then it is where it was.
///
/// Who has the lock under `name` has all that is at `aside`.
pub(super) fn step_aside(place: &Place, name: &str, aside: &str) -> io::Result<Option<File>> {
    for _ in 0..ATTEMPTS {
        remove(place, aside);
        // On a disk that is full to the last it must do without.
        let Ok(guard) = create(place, aside) else { return Ok(None) };
        let exchanged = rustix::fs::flock(&guard, FlockOperation::NonBlockingLockExclusive)
            .and_then(|()| {
                let (directory, flags) = (&place.directory, RenameFlags::EXCHANGE);
                rustix::fs::renameat_with(directory, name, directory, aside, flags)
            });
        match exchanged {
            Ok(()) => return Ok(Some(guard)),
            // Somebody who clears up had it locked before we had, or has removed it.
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

/// Whether a name is that of an open file.
pub(super) fn is_at(place: &Place, name: &str, file: &File) -> io::Result<bool> {
    let here = match rustix::fs::statat(&place.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(false),
        here => here?,
    };
    let metadata = file.metadata()?;
    Ok((here.st_dev, here.st_ino) == (metadata.dev(), metadata.ino()))
}

/// Says why a file of ours has not its name any more: its directory was removed, or somebody removed it, or
/// another transfer has taken its place.
pub(super) fn taken_away(place: &Place, name: &str, path: &[u8]) -> Failure {
    match rustix::fs::statat(&place.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => held(path),
        Err(errno) => sys_failed(Action::Rename, path)(errno),
    }
}

/// Whether a file can only be one that we made for this user: nobody else may write to it, nor may have
/// made it.
pub(super) fn is_ours(stat: &Stat, user: u32) -> bool {
    let is_file = FileType::from_raw_mode(stat.st_mode).is_file();
    let private = stat.st_mode & 0o7777 == 0o600 && stat.st_nlink == 1;
    is_file && private && stat.st_uid == user
}

/// Says that another transfer has a destination.
pub(super) fn held(path: &[u8]) -> Failure {
    let cause = Cause::BadRequest("another transfer to it is under way".to_owned());
    Failure { action: Action::Create, path: Some(path.to_vec()), cause }
}

/// Opens a file of an earlier attempt if it is surely ours; anything else in its place is removed.
pub(super) fn open(
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
            // Whoever had it locked may have put it aside meanwhile: what is there now is not this.
            if !is_at(place, name, &file)? {
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

/// Makes a new file, 0600. One that is there already is an error.
pub(super) fn create(place: &Place, name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    Ok(rustix::fs::openat(&place.directory, name, flags, mode)?.into())
}

/// Removes a file, if it is there.
pub(super) fn remove(place: &Place, name: &str) {
    // One that stays is in nobody's way: its content is never believed.
    let _ = rustix::fs::unlinkat(&place.directory, name, AtFlags::empty());
}
