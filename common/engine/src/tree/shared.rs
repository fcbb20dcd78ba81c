//! What the receiver's threads share: the root, how the operator wants things, and the way to say
//! what happened.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;
use tokio::sync::{mpsc, oneshot};

use super::filter::Filter;
use super::finish::After;
use super::manifest::{BadManifest, Decided};
use super::order::DirectoryPath;
use super::target::TreeTarget;
use super::walk::shown;
use crate::attributes::Attributes;
use crate::confined::{Dir, join, overrides_permissions};
use crate::error::{failed, sys_failed};
use crate::in_use::DirectoryId;
use crate::temporary::TreeNames;
use crate::{Owner, ResolvedOverrides, backup, clean};
use lariat_wire::protocol::failure::{Action, Failure};
use lariat_wire::protocol::metadata::Time;
use lariat_wire::protocol::tree::{Change, Changed};

/// Of one receiver.
pub(super) struct Shared {
    pub(super) root: Dir,
    /// The root's path, for messages.
    pub(super) path: Vec<u8>,
    pub(super) owner: Owner,
    pub(super) finish: ResolvedOverrides,
    /// Bits of a mode that travel.
    pub(super) mask: u32,
    /// Whether permissions are nothing to this end.
    overrides: bool,
    /// The root's own.
    pub(super) id: DirectoryId,
    /// Of files that wait for their own.
    names: TreeNames,
    /// The root is locked for this tree, so that such files are found again by the names that they have.
    locked: bool,
    /// Whether the root says that there may be such files.
    marked: AtomicBool,
    /// One of them could not be removed.
    left: AtomicBool,
    /// Files that others may be linked to, and that have their names, by number.
    arrived: Mutex<HashSet<u64>>,
    /// Hears of it, from any thread.
    tell: mpsc::UnboundedSender<Said>,
    missed: AtomicBool,
    changed: AtomicBool,
    /// One directory on each file system that something was changed on.
    disks: Mutex<Vec<(u64, Dir)>>,
}

/// What threads say to the one that has the network.
pub(super) enum Said {
    /// What follows from a message of entries.
    Decided(Decided),
    /// The manifest can't be.
    Bad(BadManifest),
    /// All of the manifest has come; this is left to do.
    Listed(Box<After>),
    /// So many more files came and are in their places, or will be, and their bytes.
    Written(u64, u64),
    /// Something could not be done; the rest goes on.
    Missed(Failure),
    /// A writer has written everything.
    WriterEnded,
    /// Names that a dry run would delete; an answer is awaited once they have been told.
    Deletes(Vec<Change>, oneshot::Sender<()>),
    /// Everything is done and on disk. So many files are links to others, and this was changed.
    Finished(u64, Changed),
}

/// A file whose content is wanted.
pub(super) struct Wanted {
    pub(super) directory: DirectoryPath,
    pub(super) name: Box<[u8]>,
    pub(super) attributes: Attributes,
    /// Something is there that is to be replaced.
    pub(super) replaces: bool,
    /// A directory is there, which is removed at the very end.
    pub(super) clears: bool,
    /// The receiver has said that it has something of it.
    pub(super) difference: bool,
    /// Its number, if other names may be linked to it.
    pub(super) linked: Option<u64>,
    pub(super) weight: usize,
}

impl Shared {
    pub(super) fn new(
        target: TreeTarget,
        finish: ResolvedOverrides,
        mask: u32,
        tell: mpsc::UnboundedSender<Said>,
    ) -> io::Result<Self> {
        let TreeTarget { directory: root, path, owner, locked, .. } = target;
        let stat = root.stat_self()?;
        let names =
            if locked { TreeNames::of_root(owner, &stat) } else { TreeNames::random(owner)? };
        let marked = locked && root.stat(&names.marker())?.is_some();
        Ok(Self {
            id: (stat.st_dev, stat.st_ino),
            root,
            path,
            owner,
            finish,
            mask,
            overrides: overrides_permissions(),
            names,
            locked,
            marked: AtomicBool::new(marked),
            left: AtomicBool::new(false),
            arrived: Mutex::default(),
            tell,
            missed: AtomicBool::new(false),
            changed: AtomicBool::new(false),
            disks: Mutex::default(),
        })
    }

    /// Removes what an attempt at this tree left that was killed.
    pub(super) fn collect(&self) {
        if self.locked && self.marked.load(Ordering::Relaxed) {
            // What can't be removed is in nobody's way.
            clean::staged(&self.root, self.owner, self.id);
        }
    }

    /// The name that a file has until it gets its own. The root says from now on that there may be such.
    pub(super) fn stage(&self, name: &[u8]) -> Vec<u8> {
        if self.locked && !self.marked.swap(true, Ordering::Relaxed) {
            // Where it can't be made, what a kill leaves is found only if the same name comes again.
            let _ = self.root.create_file(&self.names.marker());
        }
        self.names.staged(name)
    }

    /// A file that waited for its name is not needed.
    pub(super) fn unstage(&self, directory: &Dir, staged: &[u8]) {
        if directory.remove(staged).is_err() {
            self.left.store(true, Ordering::Relaxed);
        }
    }

    /// No file waits for its name any more.
    pub(super) fn none_is_staged(&self) {
        let left = self.left.load(Ordering::Relaxed);
        if self.locked && !left && self.marked.swap(false, Ordering::Relaxed) {
            // One that stays makes the next attempt look for nothing.
            let _ = self.root.remove(&self.names.marker());
        }
    }

    /// A file has its name and its content, so that others may be linked to it.
    pub(super) fn arrived(&self, linked: Option<u64>) {
        if let Some(number) = linked {
            self.arrived.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        }
    }

    /// Whether this one has.
    pub(super) fn has_arrived(&self, number: u64) -> bool {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).contains(&number)
    }

    /// Something could not be done.
    pub(super) fn miss(&self, failure: Failure) {
        self.missed.store(true, Ordering::Relaxed);
        self.say(Said::Missed(failure));
    }

    /// Says what happened.
    pub(super) fn say(&self, said: Said) {
        // Fails only when the transfer is over.
        let _ = self.tell.send(said);
    }

    /// Whether something could not be done.
    pub(super) fn has_missed(&self) -> bool {
        self.missed.load(Ordering::Relaxed)
    }

    /// Something is missing that was told of already.
    pub(super) fn note_missed(&self) {
        self.missed.store(true, Ordering::Relaxed);
    }

    /// Something in this directory is about to be changed.
    pub(super) fn touch(&self, directory: &Dir) -> io::Result<()> {
        self.changed.store(true, Ordering::Relaxed);
        let device = directory.stat_self()?.st_dev;
        let mut disks = self.disks.lock().unwrap_or_else(PoisonError::into_inner);
        if disks.iter().all(|(known, _)| *known != device) {
            disks.push((device, directory.enter(b"")?));
        }
        Ok(())
    }

    /// Opens a directory of this tree that is about to be changed. Its owner may have denied himself that; whoever
    /// acts here as its owner gives himself the permission. Tells what its mode was if it was changed.
    pub(super) fn enter_own(&self, from: &Dir, path: &[u8]) -> io::Result<(Dir, Option<u32>)> {
        if self.overrides {
            return Ok((from.enter(path)?, None));
        }
        let (directory, was) = from.enter_own(path)?;
        if was.is_some() {
            self.touch(&directory)?;
        }
        Ok((directory, was))
    }

    /// Forces everything that was changed to disk.
    pub(super) fn sync(&self) -> Result<(), Failure> {
        let disks = self.disks.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, disk) in disks.iter() {
            let synced = match rustix::fs::syncfs(disk) {
                // A directory that may not be read: a file of its disk serves as well.
                Err(Errno::BADF) => disk.create_nameless().map_or_else(
                    |_| {
                        rustix::fs::sync();
                        Ok(())
                    },
                    rustix::fs::syncfs,
                ),
                synced => synced,
            };
            synced.map_err(sys_failed(Action::Sync, &self.path))?;
        }
        Ok(())
    }

    /// Whether something was changed.
    pub(super) fn has_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }

    /// A path below the root, as messages have it.
    pub(super) fn shown(&self, directory: &[u8], name: &[u8]) -> Vec<u8> {
        match name {
            b"" => shown(&self.path, directory),
            name => shown(&self.path, &join(directory, name)),
        }
    }

    /// The same as a path.
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
        filter.excludes(path, is_directory) || (self.finish.backup && backup::is_backup(name))
    }

    /// The attributes of a file as its sender found it when it was read.
    pub(super) fn as_read(&self, attributes: &mut Attributes, mode: u32, mtime: Time) {
        attributes.mode = self.finish.mode.unwrap_or(mode & self.mask);
        attributes.mtime = mtime;
    }
}

/// The directory that was opened last: what is next is mostly in the same one.
#[derive(Default)]
pub(super) struct LastDirectory(Option<(DirectoryPath, Arc<Dir>)>);

impl LastDirectory {
    /// Opens a directory below the root.
    pub(super) fn open(
        &mut self,
        shared: &Shared,
        path: &DirectoryPath,
    ) -> Result<Arc<Dir>, Failure> {
        if let Some((open, directory)) = &self.0
            && open == path
        {
            return Ok(Arc::clone(directory));
        }
        let entered = shared.root.enter(path);
        let directory = Arc::new(entered.map_err(failed(Action::Open, &shared.shown(path, b"")))?);
        self.0 = Some((Arc::clone(path), Arc::clone(&directory)));
        Ok(directory)
    }
}
