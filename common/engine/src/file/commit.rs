//! Turns a complete partial into the file under its name. Metadata, sync, rename and the directory's sync
//! come in this order, so a crash at any instant leaves the old file or the new one.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;

use super::backup;
use super::private_file;
use crate::destination::Place;
use crate::error::{failed, sys_failed};
use crate::metadata::ResolvedOverrides;
use crate::metadata::attributes::Attributes;
use crate::metadata::end_state;
use crate::metadata::replaced::Replaced;
use crate::metadata::translate::Translator;
use lariat_wire::protocol::failure::{Action, Failure};
use lariat_wire::protocol::metadata::{Metadata, Preserve};

/// What a file gets beyond its content: the operator's overrides, and the source's preserved attributes.
#[derive(Clone, Debug)]
pub struct CommitOptions {
    pub(crate) attributes: Attributes,
    pub(crate) backup: bool,
    /// The mode is one of the operator's overrides.
    pub(crate) given_mode: bool,
    /// Read the file back from its disk.
    pub(crate) verify: bool,
}

impl CommitOptions {
    /// The options for a file with this metadata. May block: a directory service may be asked for the owner.
    pub fn new(overrides: &ResolvedOverrides, preserve: Preserve, metadata: Metadata) -> Self {
        let attributes = Translator::new(preserve, overrides.clone()).attributes(metadata, true);
        Self::within(overrides, attributes)
    }

    /// The options for a file of a tree, which gets these attributes.
    pub(crate) fn within(overrides: &ResolvedOverrides, attributes: Attributes) -> Self {
        let ResolvedOverrides { mode, backup, verify, .. } = *overrides;
        Self { attributes, backup, given_mode: mode.is_some(), verify }
    }
}

/// When a complete file is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Before it gets its name.
    First,
    /// With the rest of the tree in which it is new.
    WithTree,
}

/// The name that a complete file gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Landing {
    /// Its final one.
    Final,
    /// A temporary one of its tree: a directory that is removed later has the final one.
    Staged(Vec<u8>),
}

/// How a complete file was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Committed {
    /// It has the name of its [`Landing`].
    Placed,
    /// The existing file had the same content and got the attributes that differed.
    Touched,
    /// The existing file had the same content and attributes.
    Unchanged,
}

/// Everything that a commit needs beside the file.
pub(crate) struct Commit<'a> {
    pub(crate) place: &'a Place,
    pub(crate) landing: &'a Landing,
    pub(crate) options: &'a CommitOptions,
    pub(crate) sync: Sync,
    /// The file that is replaced.
    pub(crate) old: Option<&'a Replaced>,
    /// The replaced file has the same content, so it needs no backup.
    pub(crate) equal: bool,
}

impl Commit<'_> {
    /// Gives the file, whose name is `part` until then, its metadata and, once it is on disk, its name.
    pub(crate) fn run(&self, file: &File, part: &str) -> Result<(), Failure> {
        let Self { place, landing, options, sync, old, equal } = self;
        let path = place.path();
        let bytes = path.as_os_str().as_bytes();
        end_state::finish(file, &options.attributes, *old, bytes)?;
        if *sync == Sync::First {
            file.sync_all().map_err(failed(Action::Sync, bytes))?;
        }
        let directory = place.directory.as_fd();
        let name = match landing {
            Landing::Final => place.name.as_slice(),
            Landing::Staged(name) => name,
        };
        if options.backup && !equal && **landing == Landing::Final {
            backup::keep(directory, name, bytes)?;
        }
        if !private_file::is_at(directory, part.as_bytes(), file)
            .map_err(failed(Action::Rename, bytes))?
        {
            return Err(private_file::taken_away(place, part, bytes));
        }
        rustix::fs::renameat(directory, part, directory, name)
            .map_err(sys_failed(Action::Rename, bytes))
    }
}

/// Gives a file that has the new content already the attributes that differ. `None` if that fails, or if its
/// owner or mode differs: a process that has the old file open might not be allowed to open the new one.
pub(crate) fn touch(old: &Replaced, attributes: &Attributes) -> Option<Committed> {
    let file = old.file.as_ref()?;
    if !attributes.owner_matches(&old.stat) || !attributes.mode_matches(&old.stat) {
        return None;
    }
    let differed = attributes.apply(file, b"").ok()?;
    Some(if differed { Committed::Touched } else { Committed::Unchanged })
}

/// Syncs the directory, and with it the file's name.
pub(crate) fn sync_directory(place: &Place, file: &File) -> Result<(), Failure> {
    let path = place.directory_path.as_os_str().as_bytes();
    let synced = match rustix::fs::fsync(&place.directory) {
        // A directory that may not be read can't be synced by itself, but with its whole file system.
        Err(Errno::BADF) => rustix::fs::syncfs(file),
        synced => synced,
    };
    synced.map_err(sys_failed(Action::Sync, path))
}
