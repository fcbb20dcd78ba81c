//! A transfer's unfinished file, from its first byte to the name that it gets.
//!
//! It lies in the destination's own folder as `.lariat-HASH.part`, where HASH is of the key, the user
//! and the destination's name, so that a later attempt finds it and another key's does not. One that
//! could be anybody else's work is not touched but replaced.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::destination::Place;
use super::error::{failed, sys_failed};
use super::journal::Journal;
use super::source::not_a_file;
use crate::limits::CHUNK;
use crate::name::KeyId;
use crate::protocol::failure::{Action, Cause, Failure, FileKind};
use crate::protocol::transfer::{Offer, Range};

/// Times that a partial is looked for anew when another process takes it away meanwhile.
const ATTEMPTS: usize = 16;

/// Whose partial it is.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// The key that the transfer was asked for with.
    pub key: KeyId,
    /// The user whose files are written.
    pub user: u32,
}

/// An unfinished file, locked against every other process.
pub struct Partial {
    place: Place,
    part: String,
    journal_name: String,
    file: Arc<File>,
    journal: Option<Journal>,
    state: State,
}

/// What becomes of a partial's files when it is dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing in it is worth keeping.
    Worthless,
    /// A later attempt can go on with it.
    Resumable,
    /// It has its final name.
    Committed,
}

/// What to do while another transfer holds the partial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// Wait for it: whoever holds it has been told to stop.
    Wait,
    /// Fail.
    Refuse,
}

impl Partial {
    /// The name that the partial for this place has, in the place's folder.
    pub fn name(place: &Place, owner: Owner) -> String {
        format!("{}.part", stem(place, owner))
    }

    /// Opens or makes the partial for a place, and tells which chunks of the offered file may be in
    /// it.
    pub fn open(
        place: Place,
        owner: Owner,
        offer: &Offer,
        busy: Busy,
    ) -> Result<(Self, Vec<Range>), Failure> {
        check_replaceable(&place)?;
        let part = Self::name(&place, owner);
        let journal_name = format!("{}.journal", stem(&place, owner));
        let file = open_locked(&place, &part, owner, busy)?;
        let mut partial = Self {
            place,
            part,
            journal_name,
            file: Arc::new(file),
            journal: None,
            state: State::Worthless,
        };
        let have = partial.begin(owner, offer)?;
        Ok((partial, have))
    }

    /// The path that the file will have.
    pub fn path(&self) -> PathBuf {
        self.place.path()
    }

    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Writes a verified chunk and names it in the journal.
    pub(super) fn write(&mut self, index: u64, bytes: &[u8]) -> Result<(), Failure> {
        let mut written = self.file.write_all_at(bytes, index * CHUNK as u64);
        if let (Ok(()), Some(journal)) = (&written, &mut self.journal) {
            written = journal.record(index);
            self.state = State::Resumable;
        }
        written.map_err(|error| self.failure(Action::Write, &error))
    }

    /// Gives the complete file its metadata and, once it is on disk, its name.
    pub(super) fn commit(mut self, offer: &Offer) -> Result<(), Failure> {
        let place = &self.place;
        let path = place.path();
        let bytes = path.as_os_str().as_bytes();
        self.inherit_ownership();
        let set = |errno: Errno| sys_failed(Action::SetMetadata, bytes)(errno);
        rustix::fs::fchmod(&*self.file, Mode::from_raw_mode(offer.mode & 0o777)).map_err(set)?;
        let mtime = Timespec { tv_sec: offer.mtime.secs, tv_nsec: offer.mtime.nanos.into() };
        let omit = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
        let times = Timestamps { last_access: omit, last_modification: mtime };
        rustix::fs::futimens(&*self.file, &times).map_err(set)?;
        self.file.sync_all().map_err(failed(Action::Sync, bytes))?;
        let folder = place.folder.as_fd();
        rustix::fs::renameat(folder, &self.part, folder, place.name.as_slice())
            .map_err(sys_failed(Action::Rename, bytes))?;
        self.state = State::Committed;
        if self.journal.is_some() {
            // One that stays names chunks of a partial that is gone, and is passed over.
            let _ = rustix::fs::unlinkat(folder, &self.journal_name, AtFlags::empty());
        }
        let folder_path = place.folder_path.as_os_str().as_bytes();
        place.folder.sync_all().map_err(failed(Action::Sync, folder_path))
    }

    /// The transfer failed: keeps what a later attempt can use, and nothing else.
    pub(super) fn abandon(mut self, cause: &Cause) {
        const FULL: [i32; 2] = [Errno::NOSPC.raw_os_error(), Errno::DQUOT.raw_os_error()];
        let worthless = match cause {
            // A full disk needs the room more than we do; a source that changed is another source.
            Cause::Os(errno) => FULL.contains(errno),
            Cause::SourceChanged | Cause::SourceShrank | Cause::Mismatch => true,
            _ => false,
        };
        if worthless {
            self.state = State::Worthless;
        }
    }

    fn begin(&mut self, owner: Owner, offer: &Offer) -> Result<Vec<Range>, Failure> {
        let len = self.file.metadata().map_err(|e| self.failure(Action::Read, &e))?.len();
        let several = offer.chunks() > 1;
        if several && len > 0 {
            let old = open_own(&self.place, &self.journal_name, OFlags::APPEND, owner);
            let resumed = old.and_then(|file| match file {
                Some(file) => Journal::resume(file, offer, len),
                None => Ok(None),
            });
            if let Some((journal, ranges)) = resumed.map_err(|e| self.failure(Action::Read, &e))? {
                self.journal = Some(journal);
                self.state = State::Resumable;
                return Ok(ranges);
            }
        }
        if len > 0 {
            self.file.set_len(0).map_err(|e| self.failure(Action::Write, &e))?;
        }
        if several {
            let journal = create_own(&self.place, &self.journal_name)
                .and_then(|file| Journal::begin(file, offer));
            self.journal = Some(journal.map_err(|e| self.failure(Action::Create, &e))?);
        }
        Ok(Vec::new())
    }

    /// A replaced file's owner, group and extended attributes stay as they were, as far as we may.
    fn inherit_ownership(&self) {
        let folder = self.place.folder.as_fd();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let name = self.place.name.as_slice();
        let Ok(old) = rustix::fs::openat(folder, name, flags, Mode::empty()) else { return };
        let old = File::from(old);
        let (Ok(was), Ok(is)) = (old.metadata(), self.file.metadata()) else { return };
        if (was.uid(), was.gid()) != (is.uid(), is.gid()) {
            let _ = std::os::unix::fs::fchown(&*self.file, Some(was.uid()), Some(was.gid()));
        }
        copy_attributes(&old, &self.file);
    }

    pub(super) fn spawn_failure(&self) -> impl FnOnce(io::Error) -> Failure + use<> {
        failed(Action::Sync, self.place.path().as_os_str().as_bytes())
    }

    fn failure(&self, action: Action, error: &io::Error) -> Failure {
        Failure::io(action, self.place.path().as_os_str().as_bytes(), error)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.state == State::Worthless {
            remove(&self.place, &self.part);
            remove(&self.place, &self.journal_name);
        }
    }
}

fn remove(place: &Place, name: &str) {
    let _ = rustix::fs::unlinkat(&place.folder, name, AtFlags::empty());
}

fn stem(place: &Place, owner: Owner) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(&owner.key.0).update(&owner.user.to_le_bytes()).update(&place.name);
    format!(".lariat-{}", &hash.finalize().to_hex()[..32])
}

/// Refuses a destination that a rename would wrongly replace.
fn check_replaceable(place: &Place) -> Result<(), Failure> {
    use rustix::fs::FileType;
    let path = place.path();
    let bytes = path.as_os_str().as_bytes();
    let stat = rustix::fs::statat(&place.folder, place.name.as_slice(), AtFlags::SYMLINK_NOFOLLOW);
    let kind = match stat {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(sys_failed(Action::Open, bytes)(errno)),
    };
    match kind {
        // A link is replaced itself, as rename(2) and rsync do.
        FileType::RegularFile | FileType::Symlink => Ok(()),
        FileType::Directory => Err(not_a_file(bytes, FileKind::Folder)),
        FileType::Fifo => Err(not_a_file(bytes, FileKind::Fifo)),
        FileType::Socket => Err(not_a_file(bytes, FileKind::Socket)),
        _ => Err(not_a_file(bytes, FileKind::Device)),
    }
}

/// Opens the partial, or makes it, and locks it.
fn open_locked(place: &Place, part: &str, owner: Owner, busy: Busy) -> Result<File, Failure> {
    let path = place.path();
    let bytes = path.as_os_str().as_bytes();
    for _ in 0..ATTEMPTS {
        let opened = match open_own(place, part, OFlags::empty(), owner) {
            Ok(None) => create_own(place, part),
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
            Err(Errno::WOULDBLOCK) => return Err(held(bytes)),
            Err(errno) => return Err(sys_failed(Action::Open, bytes)(errno)),
        }
        // Whoever held it may have finished, and given it its name, while we waited.
        let here = rustix::fs::statat(&place.folder, part, AtFlags::SYMLINK_NOFOLLOW);
        let metadata = file.metadata().map_err(failed(Action::Open, bytes))?;
        if here.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (metadata.dev(), metadata.ino())) {
            return Ok(file);
        }
    }
    Err(held(bytes))
}

fn held(path: &[u8]) -> Failure {
    let cause = Cause::BadRequest("another transfer to it is under way".to_owned());
    Failure { action: Action::Create, path: Some(path.to_vec()), cause }
}

/// Opens a file of an earlier attempt if it is surely ours; anything else in its place is removed.
fn open_own(place: &Place, name: &str, flags: OFlags, owner: Owner) -> io::Result<Option<File>> {
    let flags = flags | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(&place.folder, name, flags, Mode::empty()) {
        Ok(file) => {
            let file = File::from(file);
            let metadata = file.metadata()?;
            let private = metadata.mode() & 0o7777 == 0o600 && metadata.nlink() == 1;
            if metadata.is_file() && metadata.uid() == owner.user && private {
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

/// Makes a new file, in place of an old one of ours.
fn create_own(place: &Place, name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let create = || rustix::fs::openat(&place.folder, name, flags, Mode::RUSR | Mode::WUSR);
    match create() {
        Err(Errno::EXIST) if name.ends_with(".journal") => {
            rustix::fs::unlinkat(&place.folder, name, AtFlags::empty())?;
            Ok(create()?.into())
        }
        file => Ok(file?.into()),
    }
}

/// Copies extended attributes, but the one that gives a program rights: the kernel itself takes that
/// away from a file whose content changes.
fn copy_attributes(from: &File, to: &File) {
    const CAPABILITY: &[u8] = b"security.capability";
    let mut names = vec![0; 64 * 1024];
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
