//! Files of our own in a folder that may not be only ours: opened when they are surely ours, made
//! anew otherwise, locked while they are used.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::destination::Place;
use super::error::{failed, sys_failed};
use super::partial::Busy;
use crate::protocol::failure::{Action, Cause, Failure};
use crate::secret::random;

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

/// Gives a locked file of ours a name that nobody else knows, and returns that.
///
/// From then on it is no later attempt's: those find nothing under the old name and begin anew, and
/// whoever gives a name to what has the old one gives it to theirs.
pub(super) fn claim(place: &Place, name: &str, file: &File) -> Result<String, Failure> {
    let path = place.path();
    let bytes = path.as_os_str().as_bytes();
    let own = unique().map_err(failed(Action::Rename, bytes))?;
    rustix::fs::renameat(&place.folder, name, &place.folder, own.as_str())
        .map_err(sys_failed(Action::Rename, bytes))?;
    if is_at(place, &own, file).map_err(failed(Action::Rename, bytes))? {
        return Ok(own);
    }
    // Somebody has put a file of theirs in its place.
    let _ = rustix::fs::renameat(&place.folder, own.as_str(), &place.folder, name);
    Err(held(bytes))
}

/// A name as partials have it, of nothing in particular.
fn unique() -> io::Result<String> {
    let random: [u8; 16] = random().map_err(io::Error::other)?;
    Ok(format!(".lariat-{}.part", hex::encode(random)))
}

/// Whether a name is that of an open file.
fn is_at(place: &Place, name: &str, file: &File) -> io::Result<bool> {
    let here = rustix::fs::statat(&place.folder, name, AtFlags::SYMLINK_NOFOLLOW);
    let metadata = file.metadata()?;
    Ok(here.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (metadata.dev(), metadata.ino())))
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
    match rustix::fs::openat(&place.folder, name, flags, Mode::empty()) {
        Ok(file) => {
            let file = File::from(file);
            let metadata = file.metadata()?;
            let private = metadata.mode() & 0o7777 == 0o600 && metadata.nlink() == 1;
            if metadata.is_file() && metadata.uid() == user && private {
                return Ok(Some(file));
            }
        }
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::NXIO | Errno::ISDIR | Errno::ACCESS) => {}
        Err(errno) => return Err(errno.into()),
    }
    match rustix::fs::unlinkat(&place.folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Makes a new file, 0600. One that is there already is an error.
pub(super) fn create(place: &Place, name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    Ok(rustix::fs::openat(&place.folder, name, flags, mode)?.into())
}

/// Removes a file, if it is there.
pub(super) fn remove(place: &Place, name: &str) {
    // One that stays is in nobody's way: its content is never believed.
    let _ = rustix::fs::unlinkat(&place.folder, name, AtFlags::empty());
}
