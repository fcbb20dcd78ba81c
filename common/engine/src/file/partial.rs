//! A transfer's unfinished file, from its first byte to its final name.
//!
//! It is in the destination's directory. Its name is derived from the key, the user and the destination's
//! name, so a later attempt finds it and another key's attempt does not. A file of that name that somebody else
//! may have made is replaced. The lock on the partial also covers its journal, and the name under which
//! the complete file gets its metadata.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::Resource;

use super::basis::BasisFile;
use super::body::Body;
use super::commit::{self, Commit, CommitOptions, Committed, Landing, Sync};
use super::journal::{Journal, Left};
use super::owner::{Busy, Owner};
use super::private_file;
use super::sweep;
use super::temporary::PartialNames;
use crate::confined::Dir;
use crate::destination::Place;
use crate::error::failed;
use crate::metadata::replaced::Replaced;
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::transfer::{Complete, Hash, Offer};

/// From this size on, in bytes, syncing a complete file takes so long that a kill meanwhile must not lose it.
const WORTH_KEEPING: u64 = 16 * 1024 * 1024;

/// An unfinished file, locked against every other process.
pub struct Partial {
    place: Place,
    names: PartialNames,
    landing: Landing,
    pub(crate) likeness: Likeness,
    body: Arc<Body>,
    state: State,
    /// The locked file that has the partial's name once the complete file was renamed aside.
    guard: Option<File>,
}

/// How the new content compares with that of the file that it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// All of it was copied from the same offsets of the old file, which has the same length.
    Same,
    /// The two must be compared, first from this offset on, where a difference is most likely.
    Unknown(u64),
}

/// What a drop does with the files of a partial.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Keeps them if a later attempt can resume from them.
    UnderWay,
    /// Removes them.
    Worthless,
    /// Keeps the file, which has its final name.
    Committed,
}

impl Partial {
    /// The name of the partial for a place, in the place's directory.
    pub fn name(place: &Place, owner: Owner) -> String {
        PartialNames::of(&place.name, owner).part
    }

    /// Opens or creates the partial for a place, whose present content may be replaced. Returns what an earlier
    /// attempt left in it of the offered file, and the file to be replaced if it is worth a delta.
    pub(crate) fn open(
        place: Place,
        landing: Landing,
        owner: Owner,
        offer: &Offer,
        busy: Busy,
    ) -> Result<(Self, Left, Option<BasisFile>), Failure> {
        let names = PartialNames::of(&place.name, owner);
        let file = private_file::open_locked(&place, &names.part, owner.user, busy)?;
        // An attempt that was killed during its commit leaves it.
        private_file::remove(&place, &names.aside);
        let (body, left) = begin(&place, &names.journal, file, owner, offer).inspect_err(|_| {
            private_file::remove(&place, &names.part);
            private_file::remove(&place, &names.journal);
        })?;
        let (body, state, likeness) = (Arc::new(body), State::UnderWay, Likeness::Unknown(0));
        let partial = Self { place, names, landing, likeness, body, state, guard: None };
        partial.check_room(offer)?;
        let whole = left.chunks.iter().map(|range| range.count).sum::<u64>() == offer.chunks();
        let basis = if whole { None } else { BasisFile::find(&partial.place, offer) };
        if offer.chunks() > 1 {
            // For several chunks the cost of reading a directory does not count; a small file would wait for it.
            sweep::sweep(&partial.place, owner.user, SystemTime::now());
        }
        Ok((partial, left, basis))
    }

    /// Whether an earlier attempt left a partial for this place.
    pub(crate) fn is_there(directory: &Dir, name: &[u8], owner: Owner) -> bool {
        let PartialNames { part, .. } = PartialNames::of(name, owner);
        let there = directory.stat(part.as_bytes());
        matches!(there, Ok(Some(stat)) if stat.st_size > 0 && private_file::is_ours(&stat, owner.user))
    }

    /// The path of the complete file.
    pub(crate) fn path(&self) -> PathBuf {
        self.place.path()
    }

    /// The file that chunks are written into.
    pub(crate) fn body(&self) -> &Arc<Body> {
        &self.body
    }

    /// Keeps the bytes of a chunk that arrived before the connection was cut. They follow `before` bytes of
    /// it that are in the file already.
    pub(crate) fn keep_begun(&self, index: u64, before: usize, bytes: &[u8]) {
        let journal = || private_file::create(&self.place, &self.names.journal);
        let make = || journal().and_then(Journal::begin);
        // Bytes that could not be kept are sent again.
        let _ = self.body.write_begun(index, before, bytes, make);
    }

    /// Gives the complete file its metadata and, once it is on disk, its name. An existing file with the same
    /// content is not replaced.
    pub(crate) fn commit(
        mut self,
        complete: Complete,
        options: &CommitOptions,
        sync: Sync,
    ) -> Result<(Committed, Option<Hash>), Failure> {
        let size = complete.size;
        // Zeros at the end are not written, and an earlier attempt may have been longer.
        self.body.file.set_len(size).map_err(self.failed(Action::Write))?;
        let hash = self.body.read_back(complete, options).inspect_err(|failure| {
            if failure.cause == Cause::Mismatch {
                self.state = State::Worthless;
            }
        })?;
        let old = Replaced::find(&self.place.directory, &self.place.name);
        let old = old.filter(|_| self.landing == Landing::Final);
        let equal = old.as_ref().is_some_and(|old| self.is_equal(old, size));
        let touched = old.as_ref().filter(|_| equal);
        if let Some(touched) = touched.and_then(|old| commit::touch(old, &options.attributes)) {
            self.state = State::Worthless;
            return Ok((touched, hash));
        }
        if size >= WORTH_KEEPING && sync == Sync::First {
            // During this the partial can still be resumed.
            self.body.file.sync_data().map_err(self.failed(Action::Sync))?;
        }
        // A later attempt would not recognize the file once it has its metadata, and would replace it under
        // the partial's name. So it is renamed aside first, and a locked file takes its place.
        let PartialNames { part, journal, aside } = &self.names;
        self.guard = private_file::rename_aside(&self.place, part, aside)
            .map_err(self.body.failed(Action::Rename))?;
        self.state = State::Worthless;
        let complete = if self.guard.is_some() { aside } else { part };
        let (place, landing, old) = (&self.place, &self.landing, old.as_ref());
        Commit { place, landing, options, sync, old, equal }.run(&self.body.file, complete)?;
        self.state = State::Committed;
        if self.body.has_journal() {
            private_file::remove(&self.place, journal);
        }
        if sync == Sync::First {
            commit::sync_directory(&self.place, &self.body.file)?;
        }
        Ok((Committed::Placed, hash))
    }

    /// Whether the new content equals that of the old file.
    fn is_equal(&self, old: &Replaced, size: u64) -> bool {
        match self.likeness {
            Likeness::Same => u64::try_from(old.stat.st_size) == Ok(size),
            Likeness::Unknown(from) => old.is_like(&self.body.file, size, from),
        }
    }

    /// Ends a failed transfer. Only what a later attempt can use is kept.
    pub(crate) fn abandon(mut self, cause: &Cause) {
        const FULL: [i32; 3] =
            [Errno::NOSPC.raw_os_error(), Errno::DQUOT.raw_os_error(), Errno::FBIG.raw_os_error()];
        let worthless = match cause {
            // On a full disk the room is worth more than the resume.
            Cause::Os(errno) => FULL.contains(errno),
            Cause::Mismatch => true,
            _ => false,
        };
        if worthless {
            self.state = State::Worthless;
        }
    }

    /// Turns an I/O error into a failure of this action on the destination.
    pub(crate) fn failed(&self, action: Action) -> impl Fn(io::Error) -> Failure {
        self.body.failed(action)
    }

    /// Refuses, before the first byte, a file larger than this process may write or than the free room on the
    /// disk.
    fn check_room(&self, offer: &Offer) -> Result<(), Failure> {
        let limit = rustix::process::getrlimit(Resource::Fsize).current;
        if offer.size.zip(limit).is_some_and(|(size, limit)| size > limit) {
            let large = io::Error::from_raw_os_error(Errno::FBIG.raw_os_error());
            return Err(self.failed(Action::Write)(large));
        }
        let Some(size) = offer.size.filter(|_| !offer.sparse) else { return Ok(()) };
        // Without this figure the write itself fails when the disk is full.
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

/// Finds which chunks an earlier attempt may have left in the partial. Content that can't be used is removed.
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
                // To send one chunk is faster than to compare it.
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
    // It described content that is gone.
    private_file::remove(place, journal_name);
    let mut journal = None;
    if several {
        let made = private_file::create(place, journal_name).and_then(Journal::begin);
        journal = Some(made.map_err(failed(Action::Create))?);
    }
    Ok((Body::begin(file, journal, path.clone()), Left::default()))
}
