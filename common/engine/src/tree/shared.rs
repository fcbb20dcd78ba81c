//! What the receiver's threads share: the root, the operator's overrides, and the way to report events.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use lariat_base::lock::lock;
use tokio::sync::mpsc;

use super::changed_disks::ChangedDisks;
use super::event::Event;
use super::filter::Filter;
use super::order::DirectoryPath;
use super::staging::Staging;
use super::target::TreeTarget;
use crate::confined::{Dir, join, overrides_permissions, shown};
use crate::error::{failed, sys_failed};
use crate::file::in_use::DirectoryId;
use crate::file::{Owner, backup};
use crate::metadata::ResolvedOverrides;
use crate::metadata::attributes::Attributes;
use lariat_wire::protocol::failure::{Action, Failure};
use lariat_wire::protocol::metadata::Time;

/// The shared state of one receiver.
pub(super) struct Shared {
    pub(super) root: Dir,
    /// The root's path, for failures.
    pub(super) path: Vec<u8>,
    pub(super) owner: Owner,
    pub(super) overrides: ResolvedOverrides,
    /// The bits of a mode that are preserved.
    mode_mask: u32,
    /// Whether this process may do what permissions deny.
    privileged: bool,
    /// The root's.
    pub(super) id: DirectoryId,
    staging: Staging,
    disks: ChangedDisks,
    /// Numbers of files that others may be linked to, and that have their names.
    arrived: Mutex<HashSet<u64>>,
    events: mpsc::UnboundedSender<Event>,
    missed: AtomicBool,
}

impl Shared {
    pub(super) fn new(
        target: TreeTarget,
        overrides: ResolvedOverrides,
        mode_mask: u32,
        events: mpsc::UnboundedSender<Event>,
    ) -> io::Result<Self> {
        let TreeTarget { directory: root, path, owner, locked, .. } = target;
        let stat = root.stat_self()?;
        Ok(Self {
            id: (stat.st_dev, stat.st_ino),
            staging: Staging::new(&root, owner, locked)?,
            root,
            path,
            owner,
            overrides,
            mode_mask,
            privileged: overrides_permissions(),
            disks: ChangedDisks::default(),
            arrived: Mutex::default(),
            events,
            missed: AtomicBool::new(false),
        })
    }

    /// Removes what a killed attempt at this tree left.
    pub(super) fn collect(&self) {
        self.staging.collect(&self.root, self.owner, self.id);
    }

    /// The temporary name of a file until its final rename.
    pub(super) fn stage(&self, name: &[u8]) -> Vec<u8> {
        self.staging.stage(&self.root, name)
    }

    /// Removes a staged file.
    pub(super) fn unstage(&self, directory: &Dir, staged: &[u8]) {
        self.staging.unstage(directory, staged);
    }

    /// No staged file is left.
    pub(super) fn end_staging(&self) {
        self.staging.end(&self.root);
    }

    /// Records that a file has its name and its content, so that others may be linked to it.
    pub(super) fn arrived(&self, linked: Option<u64>) {
        if let Some(number) = linked {
            lock(&self.arrived).insert(number);
        }
    }

    /// Whether a file has its name and its content.
    pub(super) fn has_arrived(&self, number: u64) -> bool {
        lock(&self.arrived).contains(&number)
    }

    /// Reports that something could not be done.
    pub(super) fn miss(&self, failure: Failure) {
        self.note_missed();
        self.report(Event::Missed(failure));
    }

    /// Reports an event.
    pub(super) fn report(&self, event: Event) {
        // Fails only when the transfer is over.
        let _ = self.events.send(event);
    }

    /// Whether something could not be done.
    pub(super) fn has_missed(&self) -> bool {
        self.missed.load(Ordering::Relaxed)
    }

    /// Records that something could not be done, which was reported otherwise.
    pub(super) fn note_missed(&self) {
        self.missed.store(true, Ordering::Relaxed);
    }

    /// Records that something in this directory is about to be changed.
    pub(super) fn touch(&self, directory: &Dir) -> io::Result<()> {
        self.disks.add(directory)
    }

    /// Opens a directory of this tree that is about to be changed. If its owner lacks the permission and this
    /// process acts as the owner, it takes that permission. Returns the mode before if it was changed.
    pub(super) fn enter_own(&self, from: &Dir, path: &[u8]) -> io::Result<(Dir, Option<u32>)> {
        if self.privileged {
            return Ok((from.enter(path)?, None));
        }
        let (directory, was) = from.enter_own(path)?;
        if was.is_some() {
            self.touch(&directory)?;
        }
        Ok((directory, was))
    }

    /// Syncs everything that was changed.
    pub(super) fn sync(&self) -> Result<(), Failure> {
        self.disks.sync().map_err(sys_failed(Action::Sync, &self.path))
    }

    /// Whether anything was changed.
    pub(super) fn has_changed(&self) -> bool {
        !self.disks.is_empty()
    }

    /// The path of a name below the root, for failures.
    pub(super) fn shown(&self, directory: &[u8], name: &[u8]) -> Vec<u8> {
        match name {
            b"" => shown(&self.path, directory),
            name => shown(&self.path, &join(directory, name)),
        }
    }

    /// The path of a directory below the root.
    pub(super) fn path_of(&self, directory: &[u8]) -> PathBuf {
        PathBuf::from(OsString::from_vec(shown(&self.path, directory)))
    }

    /// Whether a name that the source does not have stays all the same.
    pub(super) fn spares(
        &self,
        filter: &Filter,
        path: &[u8],
        name: &[u8],
        is_directory: bool,
    ) -> bool {
        filter.excludes(path, is_directory) || (self.overrides.backup && backup::is_backup(name))
    }

    /// Updates a file's attributes to those that its sender found when it read the file.
    pub(super) fn as_read(&self, attributes: &mut Attributes, mode: u32, mtime: Time) {
        let mode = mode & self.mode_mask;
        attributes.mode = self.overrides.mode.map_or(mode, |change| change.of_file(mode));
        attributes.mtime = mtime;
    }
}

/// The directory that was opened last. The next file is mostly in the same one.
#[derive(Default)]
pub(super) struct LastDirectory {
    open: Option<(DirectoryPath, Arc<Dir>)>,
    /// It was recorded as changed.
    touched: bool,
}

impl LastDirectory {
    /// Opens a directory below the root.
    pub(super) fn open(
        &mut self,
        shared: &Shared,
        path: &DirectoryPath,
    ) -> Result<Arc<Dir>, Failure> {
        if let Some((open, directory)) = &self.open
            && open == path
        {
            return Ok(Arc::clone(directory));
        }
        let entered = shared.root.enter(path);
        let directory = Arc::new(entered.map_err(failed(Action::Open, &shared.shown(path, b"")))?);
        self.open = Some((Arc::clone(path), Arc::clone(&directory)));
        self.touched = false;
        Ok(directory)
    }

    /// Opens a directory below the root in which something is about to be changed.
    pub(super) fn open_to_change(
        &mut self,
        shared: &Shared,
        path: &DirectoryPath,
    ) -> Result<Arc<Dir>, Failure> {
        let directory = self.open(shared, path)?;
        if !self.touched {
            let touched = shared.touch(&directory);
            touched.map_err(|error| failed(Action::Open, &shared.shown(path, b""))(error))?;
            self.touched = true;
        }
        Ok(directory)
    }
}
