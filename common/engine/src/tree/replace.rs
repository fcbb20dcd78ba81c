//! Files that are complete under a partial's name, and wait for the disk to get their own: many are
//! synced together.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use super::order::DirectoryPath;
use super::shared::{LastDirectory, Shared};
use crate::backup;
use crate::error::failed;
use lariat_wire::protocol::failure::{Action, Failure};

/// Files that are synced together.
const TOGETHER: usize = 4096;

/// Complete files without their names. When it is dropped they get them, for a link that never lasts long
/// would lose them every time; what can't get its name is removed.
pub(super) struct Replacements {
    shared: Arc<Shared>,
    waiting: Mutex<Vec<Replacement>>,
}

/// One of them.
pub(super) struct Replacement {
    pub(super) directory: DirectoryPath,
    /// The name that it has until then.
    pub(super) staged: Vec<u8>,
    pub(super) name: Box<[u8]>,
    /// A directory has the name, which is removed at the very end.
    pub(super) clears: bool,
    /// What it replaces is kept.
    pub(super) backup: bool,
    /// Its number, if other names may be linked to it.
    pub(super) linked: Option<u64>,
}

impl Replacements {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, waiting: Mutex::default() }
    }

    /// One more is complete.
    pub(super) fn add(&self, replacement: Replacement) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(replacement);
        let full = waiting.len() >= TOGETHER;
        drop(waiting);
        if full {
            self.settle(false);
        }
    }

    /// Forces them to disk, and gives them their names; with `all` also to those for which a directory
    /// must have been removed.
    pub(super) fn settle(&self, all: bool) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// Those for which a directory must be removed first.
    pub(super) fn blocked(&self) -> Vec<(DirectoryPath, Box<[u8]>)> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.shared.none_is_staged();
    }
}
