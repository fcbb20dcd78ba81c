//! Removes names that the source does not have. A dry run takes the same walk and only reports them.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::filter::Filter;
use super::shared::Shared;
use crate::confined::{Dir, join};
use crate::error::failed;
use crate::file::backup;
use crate::file::in_use::{lock, tree_is_under_way};
use crate::file::temporary::{Kind, Temporary};
use lariat_wire::protocol::failure::{Action, Cause, Failure, FileKind};

/// The most levels of directories that are removed.
const MAX_DEPTH: usize = 2048;

/// Levels between two directories that stay open on the way down: descriptors are limited, and each level
/// below an open one costs a path component.
const STRIDE: usize = 16;

/// Removes names with everything in them. Spared names and the directories that contain them stay.
pub(super) struct Removal<'a> {
    shared: &'a Shared,
    filter: &'a Filter,
    /// Removes nothing.
    dry_run: bool,
    /// Called for each removed name with its path relative to the root, children first.
    removed: &'a mut dyn FnMut(&[u8]),
}

/// A directory on the way down.
struct At<'a> {
    /// An open directory above it.
    base: &'a Dir,
    /// The path from there, and its number of components.
    way: Vec<u8>,
    steps: usize,
    /// The path from the root.
    path: Vec<u8>,
    depth: usize,
}

impl<'a> Removal<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        filter: &'a Filter,
        dry_run: bool,
        removed: &'a mut dyn FnMut(&[u8]),
    ) -> Self {
        Self { shared, filter, dry_run, removed }
    }

    /// Removes a name. With `--backup` files are renamed instead.
    pub(super) fn remove(&mut self, path: &[u8], name: &[u8]) -> Result<(), Failure> {
        self.below_root(path, name, true).map(drop)
    }

    /// Removes a directory whose name something else must get. Itself it counts as changed, not as deleted.
    pub(super) fn make_way(&mut self, path: &[u8], name: &[u8]) -> Result<(), Failure> {
        if !self.shared.overrides.backup {
            return if self.below_root(path, name, false)? {
                Ok(())
            } else {
                let (path, cause) = (Some(self.shared.shown(path, name)), FileKind::Directory);
                Err(Failure { action: Action::Create, path, cause: Cause::NotAFile(cause) })
            };
        }
        if self.dry_run {
            return Ok(());
        }
        let shown = self.shared.shown(path, name);
        let directory = self.shared.root.enter(path).map_err(failed(Action::Open, &shown))?;
        self.shared.touch(&directory).map_err(failed(Action::Open, &shown))?;
        backup::move_away(directory.as_fd(), name, &shown)
    }

    fn below_root(&mut self, path: &[u8], name: &[u8], counts: bool) -> Result<bool, Failure> {
        // The first directory may be at any depth, so the next one starts a new stride.
        let (way, path) = (path.to_vec(), path.to_vec());
        let at = At { base: &self.shared.root, way, steps: STRIDE, path, depth: 0 };
        self.down(&at, name, counts)
    }

    /// Returns whether the name was removed.
    fn down(&mut self, at: &At<'_>, name: &[u8], counts: bool) -> Result<bool, Failure> {
        let (shared, below) = (self.shared, join(&at.path, name));
        let failed = |error| failed(Action::Remove, &shared.shown(&below, b""))(error);
        let directory = at.base.enter(&at.way).map_err(&failed)?;
        if !self.dry_run {
            shared.touch(&directory).map_err(&failed)?;
        }
        let Some(stat) = directory.stat(name).map_err(&failed)? else { return Ok(true) };
        let is_directory = FileType::from_raw_mode(stat.st_mode).is_dir();
        if shared.spares(self.filter, &below, name, is_directory) {
            return Ok(false);
        }
        if !is_directory {
            return self.file(&directory, name, &below);
        }
        if at.depth >= MAX_DEPTH {
            return Err(failed(Errno::NAMETOOLONG.into()));
        }
        let (inner, was) = if self.dry_run {
            (directory.enter(name).map_err(&failed)?, None)
        } else {
            shared.enter_own(&directory, name).map_err(&failed)?
        };
        drop(directory);
        let names = inner.names().map_err(&failed)?;
        let (path, depth) = (below.clone(), at.depth + 1);
        let kept;
        let next = if at.steps < STRIDE {
            drop(inner);
            At { base: at.base, way: join(&at.way, name), steps: at.steps + 1, path, depth }
        } else {
            kept = inner;
            At { base: &kept, way: Vec::new(), steps: 0, path, depth }
        };
        let mut emptied = true;
        for inside in names.iter() {
            emptied &= self.down(&next, inside, true)?;
        }
        if !emptied {
            if let Some(mode) = was {
                let stays = at.base.enter(&join(&at.way, name)).map_err(&failed)?;
                stays.set_mode(mode).map_err(&failed)?;
            }
            return Ok(false);
        }
        if !self.dry_run {
            let directory = at.base.enter(&at.way).map_err(&failed)?;
            directory.remove_directory(name).map_err(&failed)?;
        }
        if counts {
            (self.removed)(&below);
        }
        Ok(true)
    }

    /// Removes what is not a directory. Temporary files are not reported. One that a transfer uses is an error.
    fn file(&mut self, directory: &Dir, name: &[u8], below: &[u8]) -> Result<bool, Failure> {
        let shown = self.shared.shown(below, b"");
        let failed = failed(Action::Remove, &shown);
        if let Some(temporary) = Temporary::parse(name) {
            if self.is_in_use(directory, name, &temporary).map_err(&failed)? {
                let cause = Cause::BadRequest("another transfer to it is under way".to_owned());
                return Err(Failure { action: Action::Remove, path: Some(shown.clone()), cause });
            }
            if !self.dry_run {
                directory.remove(name).map_err(failed)?;
            }
            return Ok(true);
        }
        let backed_up = self.shared.overrides.backup;
        match (self.dry_run, backed_up) {
            (true, _) => {}
            (false, true) => backup::move_away(directory.as_fd(), name, &shown)?,
            (false, false) => directory.remove(name).map_err(failed)?,
        }
        (self.removed)(below);
        Ok(!backed_up)
    }

    /// Whether another transfer uses a temporary file.
    fn is_in_use(
        &self,
        directory: &Dir,
        name: &[u8],
        temporary: &Temporary<'_>,
    ) -> io::Result<bool> {
        let part = match temporary.kind {
            Kind::Staged => return Ok(tree_is_under_way(directory, Some(self.shared.id))),
            Kind::Partial => name.to_vec(),
            Kind::Journal => temporary.sibling(Kind::Partial).into_bytes(),
        };
        match lock(directory, &part) {
            Ok(locked) => Ok(locked.is_none()),
            // It does not exist, or can't be locked.
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}
