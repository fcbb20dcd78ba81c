//! A transfer's unfinished file, from its first byte to the name that it gets.
//!
//! It lies in the destination's own directory under a name that follows from the key, the user and the
//! destination's name, so that a later attempt finds it and another key's does not. One that
//! could be anybody else's work is not touched but replaced. Who has it locked has what lies beside it
//! too: the journal, and the place where the complete file gets its metadata.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::process::Resource;

use super::basis::BasisFile;
use super::body::Body;
use super::commit::{self, Commit, CommitOptions, Committed, Landing, Sync};
use super::destination::Place;
use super::error::{failed, sys_failed};
use super::journal::{Journal, Left};
use super::replaced::Replaced;
use super::source::{file_kind, not_a_file};
use super::temporary::PartialNames;
use super::unfinished::{Opened, Unfinished};
use super::{private_file, sweep};
use crate::confined::Dir;
use lariat_base::name::KeyId;
use lariat_wire::protocol::failure::{Action, Cause, Failure, FileKind};
use lariat_wire::protocol::transfer::Offer;

/// A complete file of this size, in bytes, takes long enough to be forced to disk that being killed
/// meanwhile must not cost all of it.
const WORTH_KEEPING: u64 = 16 * 1024 * 1024;

/// Whose partial it is.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// The key that the transfer was asked for with.
    pub key: KeyId,
    /// The user whose files are written.
    pub user: u32,
}

/// What to do while another transfer holds the partial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// Wait for it: whoever holds it has been told to stop.
    Wait,
    /// Fail.
    Refuse,
}

/// An unfinished file, locked against every other process.
pub struct Partial {
    place: Place,
    names: PartialNames,
    landing: Landing,
    pub(super) likeness: Likeness,
    body: Arc<Body>,
    state: State,
    /// What is locked in its place once it was put aside.
    guard: Option<File>,
}

/// What is known of how the content that arrives compares with what it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    /// Each part of it was taken from the same place of the old file, which is as long.
    Same,
    /// They are to be compared, first from this offset on: if they differ, then probably there.
    Unknown(u64),
}

/// What becomes of a partial's files when it is dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// They stay if a later attempt can go on with them.
    UnderWay,
    /// Nothing in it is worth keeping.
    Worthless,
    /// It has its final name.
    Committed,
}

impl Partial {
    /// The name that the partial for this place has, in the place's directory.
    pub fn name(place: &Place, owner: Owner) -> String {
        PartialNames::of(&place.name, owner).part
    }

    /// Opens or makes the partial for a place, and looks what there is already of the offered file. Refuses
    /// a place where something is that is no file.
    pub fn open(place: Place, owner: Owner, offer: &Offer, busy: Busy) -> Result<Opened, Failure> {
        let path = place.path().into_os_string().into_encoded_bytes();
        check_replaceable(&place.directory, &place.name, &path)?;
        Self::open_for(place, Landing::Final, owner, offer, busy)
    }

    /// Opens or makes the partial for a place of which is known that what is there may be replaced.
    pub(super) fn open_for(
        place: Place,
        landing: Landing,
        owner: Owner,
        offer: &Offer,
        busy: Busy,
    ) -> Result<Opened, Failure> {
        let names = PartialNames::of(&place.name, owner);
        let file = private_file::open_locked(&place, &names.part, owner.user, busy)?;
        // Of an attempt that was killed there.
        private_file::remove(&place, &names.aside);
        let (body, left) = begin(&place, &names.journal, file, owner, offer).inspect_err(|_| {
            private_file::remove(&place, &names.part);
            private_file::remove(&place, &names.journal);
        })?;
        let (body, state, likeness) = (Arc::new(body), State::UnderWay, Likeness::Unknown(0));
        let partial = Self { place, names, landing, likeness, body, state, guard: None };
        partial.check_room(offer)?;
        let Left { chunks: have, begun } = left;
        let whole = have.iter().map(|range| range.count).sum::<u64>() == offer.chunks();
        let basis = if whole { None } else { BasisFile::find(&partial.place, offer) };
        if offer.chunks() > 1 {
            // Beside so much, reading a directory costs nothing; a small file would wait for it.
            sweep::sweep(&partial.place, owner.user, SystemTime::now());
        }
        Ok(Opened { partial: Unfinished::Partial(partial), have, begun, basis })
    }

    /// Whether an earlier attempt left something for this place.
    pub(super) fn is_there(directory: &Dir, name: &[u8], owner: Owner) -> bool {
        let PartialNames { part, .. } = PartialNames::of(name, owner);
        let there = directory.stat(part.as_bytes());
        matches!(there, Ok(Some(stat)) if stat.st_size > 0 && private_file::is_ours(&stat, owner.user))
    }

    /// The path that the file will have.
    pub fn path(&self) -> PathBuf {
        self.place.path()
    }

    /// What is written into it.
    pub(super) fn body(&self) -> &Arc<Body> {
        &self.body
    }

    /// Keeps the next bytes of a chunk that was cut on its way, `before` of which were there.
    pub(super) fn keep_begun(&self, index: u64, before: usize, bytes: &[u8]) {
        let journal = || private_file::create(&self.place, &self.names.journal);
        let make = || journal().and_then(Journal::begin);
        // What can't be kept is sent again.
        let _ = self.body.write_begun(index, before, bytes, make);
    }

    /// Gives the complete file its metadata and, once it is on disk, its name. Where the same content is
    /// already, nothing is replaced.
    pub(super) fn commit(
        mut self,
        size: u64,
        placing: &CommitOptions,
        sync: Sync,
    ) -> Result<Committed, Failure> {
        // Zeros at the end may have been left out, and a longer file's rest may still be there.
        self.body.file.set_len(size).map_err(self.failed(Action::Write))?;
        let old = Replaced::find(&self.place.directory, &self.place.name);
        let old = old.filter(|_| self.landing == Landing::Final);
        let equal = old.as_ref().is_some_and(|old| self.is_equal(old, size));
        let touched = old.as_ref().filter(|_| equal);
        if let Some(touched) = touched.and_then(|old| commit::touch(old, &placing.attributes)) {
            self.state = State::Worthless;
            return Ok(touched);
        }
        if size >= WORTH_KEEPING && sync == Sync::First {
            // While this lasts the partial is still one that a later attempt takes up.
            self.body.file.sync_data().map_err(self.failed(Action::Sync))?;
        }
        // With its metadata it would not look like ours any more to a later attempt, which would put it
        // away, and what took its place would get the name.
        let PartialNames { part, journal, aside } = &self.names;
        self.guard = private_file::step_aside(&self.place, part, aside)
            .map_err(self.body.failed(Action::Rename))?;
        self.state = State::Worthless;
        let complete = if self.guard.is_some() { aside } else { part };
        let (place, landing, old) = (&self.place, &self.landing, old.as_ref());
        Commit { place, landing, placing, sync, old, equal }.run(&self.body.file, complete)?;
        self.state = State::Committed;
        if self.body.has_journal() {
            private_file::remove(&self.place, journal);
        }
        match sync {
            Sync::First => {
                commit::sync_directory(&self.place, &self.body.file).map(|()| Committed::Placed)
            }
            Sync::WithItsTree => Ok(Committed::Placed),
        }
    }

    /// Whether the content that has come is the old file's too.
    fn is_equal(&self, old: &Replaced, size: u64) -> bool {
        match self.likeness {
            Likeness::Same => u64::try_from(old.stat.st_size) == Ok(size),
            Likeness::Unknown(from) => old.is_like(&self.body.file, size, from),
        }
    }

    /// The transfer failed: keeps what a later attempt can use, and nothing else.
    pub(super) fn abandon(mut self, cause: &Cause) {
        const FULL: [i32; 3] =
            [Errno::NOSPC.raw_os_error(), Errno::DQUOT.raw_os_error(), Errno::FBIG.raw_os_error()];
        let worthless = match cause {
            // A full disk needs the room more than we do.
            Cause::Os(errno) => FULL.contains(errno),
            Cause::Mismatch => true,
            _ => false,
        };
        if worthless {
            self.state = State::Worthless;
        }
    }

    /// Says what was being done when something fails.
    pub(super) fn failed(&self, action: Action) -> impl Fn(io::Error) -> Failure + use<> {
        self.body.failed(action)
    }

    /// Refuses a file that is larger than this process may write, or than the room on the disk, before its
    /// first byte.
    fn check_room(&self, offer: &Offer) -> Result<(), Failure> {
        let limit = rustix::process::getrlimit(Resource::Fsize).current;
        if offer.size.zip(limit).is_some_and(|(size, limit)| size > limit) {
            let large = io::Error::from_raw_os_error(Errno::FBIG.raw_os_error());
            return Err(self.failed(Action::Write)(large));
        }
        let Some(size) = offer.size.filter(|_| !offer.sparse) else { return Ok(()) };
        // A file system that can't tell finds out by itself.
        let Ok(disk) = rustix::fs::fstatvfs(&self.place.directory) else { return Ok(()) };
        let there = self.body.file.metadata().map_or(0, |metadata| metadata.blocks() * 512);
        let root = rustix::process::geteuid().is_root();
        let blocks = if root { disk.f_bfree } else { disk.f_bavail };
        if disk.f_blocks > 0 && size.saturating_sub(there) > blocks.saturating_mul(disk.f_frsize) {
            let full = io::Error::from_raw_os_error(Errno::NOSPC.raw_os_error());
            return Err(self.failed(Action::Write)(full));
        }
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let kept = match self.state {
            State::UnderWay => self.body.is_resumable(),
            State::Worthless => false,
            State::Committed => true,
        };
        let PartialNames { part, journal, aside } = &self.names;
        if !kept {
            private_file::remove(&self.place, if self.guard.is_some() { aside } else { part });
            private_file::remove(&self.place, journal);
        }
        if self.guard.is_some() {
            private_file::remove(&self.place, part);
        }
    }
}

/// Looks what an earlier attempt left in the partial, and which chunks that may be. What is of no use
/// is cleared away.
fn begin(
    place: &Place,
    journal_name: &str,
    file: File,
    owner: Owner,
    offer: &Offer,
) -> Result<(Body, Left), Failure> {
    let path = place.path().into_os_string().into_encoded_bytes();
    let failed = |action| failed(action, &path);
    let file = Arc::new(file);
    let len = file.metadata().map_err(failed(Action::Read))?.len();
    let several = offer.chunks() > 1;
    if offer.size.is_some() && len > 0 {
        let old = private_file::open(place, journal_name, OFlags::APPEND, owner.user);
        let resumed = old.and_then(|file| match file {
            Some(file) => Journal::resume(file, offer, len),
            None => Ok(None),
        });
        if let Some((journal, mut left)) = resumed.map_err(failed(Action::Read))? {
            if !several {
                // One whole chunk is quicker sent than compared.
                left.chunks.clear();
            }
            if several || left.begun.is_some() {
                return Ok((Body::resume(file, journal, len, path.clone()), left));
            }
        }
    }
    if len > 0 {
        file.set_len(0).map_err(failed(Action::Write))?;
    }
    // Without a partial it says nothing.
    private_file::remove(place, journal_name);
    let mut journal = None;
    if several {
        let made = private_file::create(place, journal_name).and_then(Journal::begin);
        journal = Some(made.map_err(failed(Action::Create))?);
    }
    Ok((Body::begin(file, journal, path.clone()), Left::default()))
}

/// Refuses a destination that a rename would wrongly replace. A link is replaced itself, as rename(2)
/// and rsync do, but not one that stands for what is no file: `/dev/stdout` is such.
pub(super) fn check_replaceable(
    directory: impl AsFd,
    name: &[u8],
    path: &[u8],
) -> Result<(), Failure> {
    match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => match file_kind(&stat) {
            None => Ok(()),
            Some(FileKind::Symlink) => check_link(directory, name, path),
            Some(kind) => Err(not_a_file(path, kind)),
        },
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(sys_failed(Action::Open, path)(errno)),
    }
}

fn check_link(directory: impl AsFd, name: &[u8], path: &[u8]) -> Result<(), Failure> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    // A magic link of proc(5) leads to whatever a process has open.
    match openat2(directory, name, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS) {
        Ok(end) => match rustix::fs::fstat(&end).map(|stat| file_kind(&stat)) {
            Ok(None) => Ok(()),
            Ok(Some(kind)) => Err(not_a_file(path, kind)),
            Err(errno) => Err(sys_failed(Action::Open, path)(errno)),
        },
        Err(Errno::LOOP) => Err(not_a_file(path, FileKind::Symlink)),
        // It leads nowhere, or not for us.
        Err(_) => Ok(()),
    }
}
