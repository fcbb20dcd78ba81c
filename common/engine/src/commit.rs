//! From a complete partial to a file under its name: metadata, disk, name, directory, in that order, so
//! that a crash at any instant leaves the old file or the new one.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;

use super::attributes::{Attributes, Translator};
use super::destination::Place;
use super::error::{failed, sys_failed};
use super::replaced::Replaced;
use super::{backup, end_state, private_file};
use lariat_wire::protocol::failure::{Action, Failure};
use lariat_wire::protocol::metadata::{Metadata, Preserve};

/// What the operator gives received files beyond their content, names resolved on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedOverrides {
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

/// What one file gets beyond its content: what the operator gives, and what of the source preserve.
#[derive(Clone, Debug)]
pub struct CommitOptions {
    pub(super) attributes: Attributes,
    pub(super) backup: bool,
    /// The operator gave the mode.
    pub(super) given_mode: bool,
}

impl CommitOptions {
    /// Of a file that is described so. May ask a directory service for the owner.
    pub fn new(finish: &ResolvedOverrides, preserve: Preserve, metadata: Metadata) -> Self {
        let attributes = Translator::new(preserve, finish.clone()).attributes(metadata, true);
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

/// Under which name a complete file goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Landing {
    /// Its own.
    Final,
    /// A tree's temporary one: a directory has its own, and is removed later.
    Staged(Vec<u8>),
}

/// What became of a complete file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It has its name, or the one of its [`Landing`].
    Placed,
    /// What was there had the same content, and got what else differed. The new file is not needed.
    Touched,
    /// What was there was as it should be.
    Unchanged,
}

/// Where a complete file goes and what it gets.
pub(super) struct Commit<'a> {
    pub(super) place: &'a Place,
    pub(super) landing: &'a Landing,
    pub(super) placing: &'a CommitOptions,
    pub(super) sync: Sync,
    /// What is replaced.
    pub(super) old: Option<&'a Replaced>,
    /// What is replaced has the same content: it is not worth a backup.
    pub(super) equal: bool,
}

impl Commit<'_> {
    /// Gives the file, which is there as `part`, its metadata and, once it is on disk, its name.
    pub(super) fn run(&self, file: &File, part: &str) -> Result<(), Failure> {
        let Self { place, landing, placing, sync, old, equal } = self;
        let path = place.path();
        let bytes = path.as_os_str().as_bytes();
        end_state::finish(file, &placing.attributes, *old, bytes)?;
        if *sync == Sync::First {
            file.sync_all().map_err(failed(Action::Sync, bytes))?;
        }
        let directory = place.directory.as_fd();
        let name = match landing {
            Landing::Final => place.name.as_slice(),
            Landing::Staged(name) => name,
        };
        if placing.backup && !equal && **landing == Landing::Final {
            backup::keep(directory, name, bytes)?;
        }
        if !private_file::is_at(place, part, file).map_err(failed(Action::Rename, bytes))? {
            return Err(private_file::taken_away(place, part, bytes));
        }
        rustix::fs::renameat(directory, part, directory, name)
            .map_err(sys_failed(Action::Rename, bytes))
    }
}

/// Gives a file that has its content already what else differs. `None` if it can't be, or where that is a
/// matter of owner or rights: somebody may have the old file open, who must not have the new one.
pub(super) fn touch(old: &Replaced, attributes: &Attributes) -> Option<Committed> {
    let file = old.file.as_ref()?;
    if !attributes.owns(&old.stat) || !attributes.permits_as(&old.stat) {
        return None;
    }
    let differed = attributes.make_equal(file, b"").ok()?;
    Some(if differed { Committed::Touched } else { Committed::Unchanged })
}

/// Forces the directory to disk, and with it the file's name.
pub(super) fn sync_directory(place: &Place, file: &File) -> Result<(), Failure> {
    let path = place.directory_path.as_os_str().as_bytes();
    let synced = match rustix::fs::fsync(&place.directory) {
        // A directory that may not be read can't be forced to disk by itself; all that is on the file's disk can.
        Err(Errno::BADF) => rustix::fs::syncfs(file),
        synced => synced,
    };
    synced.map_err(sys_failed(Action::Sync, path))
}
