//! What comes after all contents: links, removals, and what folders themselves get, for everything
//! done in them changes their times.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::FileType;

use super::filter::Filter;
use super::order::FolderPath;
use super::replace::Replacements;
use super::shared::{LastFolder, Shared};
use crate::beneath::{Folder, join};
use crate::memory::{Charge, Memory};
use crate::protocol::failure::{Action, Cause, Failure, FileKind};
use crate::transfer::attributes::{Attributes, timestamps};
use crate::transfer::backup;
use crate::transfer::error::failed;

/// Bytes of folders, links and names to be removed that are kept until the end: more than a million of
/// them, and no end that a sender could set by itself.
const MOST_KEPT: usize = 256 * 1024 * 1024;

/// Levels of folders that a removal goes down.
const DEEPEST: usize = 2048;

/// What is left to do. Paths are relative to the root.
#[derive(Default)]
pub(super) struct After {
    folders: Vec<(FolderPath, Attributes)>,
    links: Vec<Link>,
    /// Files that others are the same as, by their numbers.
    linked: HashMap<u64, (FolderPath, Box<[u8]>)>,
    same: Vec<(u64, FolderPath, Box<[u8]>)>,
    extra: Vec<(FolderPath, Box<[u8]>)>,
    /// Bytes of it all, about.
    kept: usize,
    /// For what is kept, against what the sender may make us keep.
    charge: Charge,
}

struct Link {
    folder: FolderPath,
    name: Box<[u8]>,
    target: Box<[u8]>,
    attributes: Attributes,
}

impl After {
    /// Nothing is left to do yet. What is kept counts against `memory`.
    pub(super) fn new(memory: &Memory) -> Self {
        Self { charge: memory.charge(), ..Self::default() }
    }

    /// Whether there is more than is kept; `beside` are bytes of folders whose turn comes later.
    pub(super) fn is_full(&mut self, beside: usize) -> bool {
        let kept = self.kept.saturating_add(beside);
        kept > MOST_KEPT || self.charge.at_least(kept).is_err()
    }

    /// Counts one more, with this many bytes beside its own size.
    fn keep(&mut self, bytes: usize) {
        const ONE: usize = 128;
        self.kept += ONE + bytes;
    }

    /// A folder gets its attributes.
    pub(super) fn folder(&mut self, path: FolderPath, attributes: Attributes) {
        self.keep(path.len() + attributes.weight());
        self.folders.push((path, attributes));
    }

    /// A symbolic link is made.
    pub(super) fn link(
        &mut self,
        folder: FolderPath,
        name: Box<[u8]>,
        target: Box<[u8]>,
        attributes: Attributes,
    ) {
        self.keep(name.len() + target.len() + attributes.weight());
        self.links.push(Link { folder, name, target, attributes });
    }

    /// A file that others may be the same as.
    pub(super) fn linked(&mut self, number: u64, folder: FolderPath, name: Box<[u8]>) {
        self.keep(name.len());
        self.linked.insert(number, (folder, name));
    }

    /// A name that becomes the same file as an earlier one. Not if there is none.
    pub(super) fn same(&mut self, first: u64, folder: FolderPath, name: Box<[u8]>) -> bool {
        let known = self.linked.contains_key(&first);
        if known {
            self.keep(name.len());
            self.same.push((first, folder, name));
        }
        known
    }

    /// A name that the source does not have goes.
    pub(super) fn extra(&mut self, folder: FolderPath, name: Box<[u8]>) {
        self.keep(name.len());
        self.extra.push((folder, name));
    }

    /// Does it all. `whole` says that the sender could read all of the source; without that nothing
    /// is removed. Gives how many links to files were made.
    pub(super) fn run(
        self,
        shared: &Arc<Shared>,
        replacements: &Replacements,
        filter: &Filter,
        whole: bool,
    ) -> u64 {
        let mut work = Work { shared, filter, last: LastFolder::default() };
        replacements.settle(false);
        let removes = whole && !shared.has_missed();
        if removes {
            for (folder, name) in &self.extra {
                work.note(work.remove(folder, name).map(drop));
            }
            for (folder, name) in replacements.blocked() {
                work.note(work.make_way(&folder, &name));
            }
        }
        replacements.settle(true);
        let mut same = 0;
        for (first, folder, name) in &self.same {
            let made = work.same(&self.linked[first], folder, name, removes);
            same += u64::from(made.is_ok());
            work.note(made);
        }
        for link in &self.links {
            let made = work.link(link, removes);
            work.note(made);
        }
        // What is inside first, for a folder may not be entered any more once it has its mode.
        for (path, attributes) in self.folders.iter().rev() {
            let set = work.folder(path, attributes);
            work.note(set);
        }
        if shared.has_changed() {
            work.note(shared.sync());
        }
        same
    }
}

struct Work<'a> {
    shared: &'a Arc<Shared>,
    filter: &'a Filter,
    last: LastFolder,
}

impl Work<'_> {
    fn note(&self, done: Result<(), Failure>) {
        if let Err(failure) = done {
            self.shared.miss(failure);
        }
    }

    fn folder(&mut self, path: &FolderPath, attributes: &Attributes) -> Result<(), Failure> {
        let shown = self.shared.shown(path, b"");
        let failed = failed(Action::SetMetadata, &shown);
        let folder = self.shared.root.enter(path).map_err(&failed)?;
        if attributes.make_equal(&folder, &shown)? {
            self.shared.touch(&folder).map_err(&failed)?;
        }
        Ok(())
    }

    fn link(&mut self, link: &Link, removes: bool) -> Result<(), Failure> {
        let Link { folder, name, target, attributes } = link;
        let path = self.shared.shown(folder, name);
        let failed = |action| failed(action, &path);
        let open = self.last.open(self.shared, folder)?;
        let part = self.shared.part_name(folder, name);
        let old = open.read_link(name);
        if old.is_ok_and(|old| *old == **target) {
            // Only its time or owner differs.
        } else if self.free(&open, folder, name, removes)? {
            open.make_link(name, target).map_err(failed(Action::Create))?;
        } else {
            open.make_link(&part, target).map_err(failed(Action::Create))?;
            self.keep(&open, name, &path)?;
            open.rename(&part, name).map_err(failed(Action::Rename))?;
        }
        if attributes.uid.is_some() || attributes.gid.is_some() {
            let owned = open.set_owner(name, attributes.uid, attributes.gid);
            owned.map_err(failed(Action::SetMetadata))?;
        }
        open.set_times(name, &timestamps(attributes.mtime)).map_err(failed(Action::SetMetadata))
    }

    fn same(
        &mut self,
        (from, old): &(FolderPath, Box<[u8]>),
        folder: &FolderPath,
        name: &[u8],
        removes: bool,
    ) -> Result<(), Failure> {
        let path = self.shared.shown(folder, name);
        let failed = |action| failed(action, &path);
        let first = self.shared.root.enter(from).map_err(failed(Action::Create))?;
        let open = self.last.open(self.shared, folder)?;
        let is = first.stat(old).map_err(failed(Action::Read))?;
        let there = open.stat(name).map_err(failed(Action::Read))?;
        if let (Some(is), Some(there)) = (&is, &there)
            && (is.st_dev, is.st_ino) == (there.st_dev, there.st_ino)
        {
            return Ok(());
        }
        if self.free(&open, folder, name, removes)? {
            return open.link(name, &first, old).map_err(failed(Action::Create));
        }
        let part = self.shared.part_name(folder, name);
        open.link(&part, &first, old).map_err(failed(Action::Create))?;
        self.keep(&open, name, &path)?;
        open.rename(&part, name).map_err(failed(Action::Rename))
    }

    /// Whether nothing has the name. A folder that has it goes, if things are removed at all.
    fn free(
        &self,
        open: &Folder,
        folder: &FolderPath,
        name: &[u8],
        removes: bool,
    ) -> Result<bool, Failure> {
        let path = self.shared.shown(folder, name);
        self.shared.touch(open).map_err(failed(Action::Open, &path))?;
        let there = open.stat(name).map_err(failed(Action::Read, &path))?;
        let Some(stat) = there else { return Ok(true) };
        if !FileType::from_raw_mode(stat.st_mode).is_dir() {
            return Ok(false);
        }
        if open.remove_folder(name).is_ok() {
            return Ok(true);
        }
        if removes {
            self.make_way(folder, name)?;
            return Ok(true);
        }
        let cause = Cause::NotAFile(FileKind::Folder);
        Err(Failure { action: Action::Create, path: Some(path), cause })
    }

    /// What is about to be replaced keeps a second name, if backups are asked for.
    fn keep(&self, folder: &Folder, name: &[u8], path: &[u8]) -> Result<(), Failure> {
        if self.shared.finish.backup { backup::keep(folder.as_fd(), name, path) } else { Ok(()) }
    }

    /// Takes a folder away where something else must be.
    fn make_way(&self, path: &[u8], name: &[u8]) -> Result<(), Failure> {
        if !self.shared.finish.backup {
            return self.remove(path, name).map(drop);
        }
        let shown = self.shared.shown(path, name);
        let folder = self.shared.root.enter(path).map_err(failed(Action::Open, &shown))?;
        self.shared.touch(&folder).map_err(failed(Action::Open, &shown))?;
        backup::move_away(folder.as_fd(), name, &shown)
    }

    /// Removes a name and what is in it, but for what is spared and the folders that it is in. With
    /// backups files get their names instead, which are spared. Gives whether it has gone.
    fn remove(&self, path: &[u8], name: &[u8]) -> Result<bool, Failure> {
        self.remove_down(path, name, 0)
    }

    /// No folder stays open while what is in it is removed: descriptors are few, levels may be many.
    fn remove_down(&self, path: &[u8], name: &[u8], depth: usize) -> Result<bool, Failure> {
        let below = join(path, name);
        let failed = failed(Action::Remove, &self.shared.shown(&below, b""));
        let folder = self.shared.root.enter(path).map_err(&failed)?;
        self.shared.touch(&folder).map_err(&failed)?;
        let Some(stat) = folder.stat(name).map_err(&failed)? else { return Ok(true) };
        let is_folder = FileType::from_raw_mode(stat.st_mode).is_dir();
        if self.shared.spares(self.filter, &below, name, is_folder) {
            return Ok(false);
        }
        if !is_folder && self.shared.finish.backup {
            backup::move_away(folder.as_fd(), name, &self.shared.shown(&below, b""))?;
            return Ok(false);
        }
        if !is_folder {
            return folder.remove(name).map_err(&failed).map(|()| true);
        }
        if depth >= DEEPEST {
            return Err(failed(rustix::io::Errno::NAMETOOLONG.into()));
        }
        let (inner, was) = self.shared.enter_own(&folder, name).map_err(&failed)?;
        let names = inner.names().map_err(&failed)?;
        drop((folder, inner));
        let mut emptied = true;
        for inside in names.iter() {
            emptied &= self.remove_down(&below, inside, depth + 1)?;
        }
        if emptied {
            let folder = self.shared.root.enter(path).map_err(&failed)?;
            folder.remove_folder(name).map_err(&failed)?;
        } else if let Some(mode) = was {
            let stays = self.shared.root.enter(&below).map_err(&failed)?;
            stays.set_mode(mode).map_err(&failed)?;
        }
        Ok(emptied)
    }
}
