//! Staged files that replace existing ones: many are synced together before their final renames.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use super::order::DirectoryPath;
use super::shared::{LastDirectory, Shared};
use crate::error::failed;
use crate::file::backup;
use lariat_base::lock::lock;
use lariat_wire::protocol::failure::{Action, Failure};

/// How many files are synced together.
const BATCH: usize = 4096;

/// The staged files of a tree. A drop renames them, so that they survive a connection that never lasts long,
/// and removes those that can't be renamed.
pub(super) struct Replacements {
    shared: Arc<Shared>,
    waiting: Mutex<Vec<Replacement>>,
}

/// A staged file.
pub(super) struct Replacement {
    pub(super) directory: DirectoryPath,
    /// Its temporary name.
    pub(super) staged: Vec<u8>,
    pub(super) name: Box<[u8]>,
    /// A directory has its name, which is removed at the very end.
    pub(super) clears: bool,
    /// The replaced file is kept.
    pub(super) backup: bool,
    /// Its number, if other names may be linked to it.
    pub(super) linked: Option<u64>,
}

impl Replacements {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, waiting: Mutex::default() }
    }

    /// Adds a staged file.
    pub(super) fn add(&self, replacement: Replacement) {
        let mut waiting = lock(&self.waiting);
        waiting.push(replacement);
        let full = waiting.len() >= BATCH;
        drop(waiting);
        if full {
            self.settle(false);
        }
    }

    /// Syncs and renames the staged files. Those for which a directory must be removed first are included
    /// only with `all`.
    pub(super) fn settle(&self, all: bool) {
        let mut waiting = lock(&self.waiting);
        let (ready, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *waiting).into_iter().partition(|one| all || !one.clears);
        *waiting = later;
        drop(waiting);
        if ready.is_empty() {
            return;
        }
        let synced = self.shared.sync();
        let mut last = LastDirectory::default();
        for one in ready {
            match synced.clone().and_then(|()| self.name(&one, &mut last)) {
                Ok(()) => self.shared.arrived(one.linked),
                Err(failure) => {
                    self.shared.miss(failure);
                    self.remove(&one, &mut last);
                }
            }
        }
    }

    /// The names that are still those of directories.
    pub(super) fn blocked(&self) -> Vec<(DirectoryPath, Box<[u8]>)> {
        let waiting = lock(&self.waiting);
        waiting.iter().map(|one| (DirectoryPath::clone(&one.directory), one.name.clone())).collect()
    }

    fn name(&self, one: &Replacement, last: &mut LastDirectory) -> Result<(), Failure> {
        let directory = last.open(&self.shared, &one.directory)?;
        let path = self.shared.shown(&one.directory, &one.name);
        if one.backup {
            backup::keep(directory.as_fd(), &one.name, &path)?;
        }
        directory.rename(&one.staged, &one.name).map_err(failed(Action::Rename, &path))
    }

    fn remove(&self, one: &Replacement, last: &mut LastDirectory) {
        if let Ok(directory) = last.open(&self.shared, &one.directory) {
            self.shared.unstage(&directory, &one.staged);
        }
    }
}

impl Drop for Replacements {
    fn drop(&mut self) {
        self.settle(false);
        let waiting =
            std::mem::take(self.waiting.get_mut().unwrap_or_else(PoisonError::into_inner));
        let mut last = LastDirectory::default();
        waiting.iter().for_each(|one| self.remove(one, &mut last));
        self.shared.end_staging();
    }
}
