//! What comes after all contents: links, removals, and what directories themselves get, for everything
//! done in them changes their times.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::{FileType, Stat};

use super::deletes::Deletes;
use super::filter::Filter;
use super::order::DirectoryPath;
use super::removal::Removal;
use super::replace::Replacements;
use super::shared::{LastDirectory, Shared};
use crate::attributes::{Attributes, timestamps};
use crate::backup;
use crate::confined::Dir;
use crate::error::failed;
use crate::replaced::Replaced;
use lariat_wire::memory::{Charge, Memory};
use lariat_wire::protocol::failure::{Action, Cause, Failure, FileKind};
use lariat_wire::protocol::tree::Changed;

/// Bytes of directories, links and names to be removed that are kept until the end: more than a million of
/// them, and no end that a sender could set by itself.
const MOST_KEPT: usize = 256 * 1024 * 1024;

/// Why a name is not linked to a file.
const UNLINKED: &str = "the file that it is another name of did not arrive";

/// What is left to do. Paths are relative to the root.
#[derive(Default)]
pub(super) struct After {
    directories: Vec<(DirectoryPath, Attributes, bool)>,
    links: Vec<Link>,
    /// Files that others are the same as, by their numbers.
    linked: HashMap<u64, Linked>,
    same: Vec<(u64, DirectoryPath, Box<[u8]>)>,
    extra: Vec<(DirectoryPath, Box<[u8]>)>,
    /// Directories that are not empty, where something else must be.
    in_the_way: Vec<(DirectoryPath, Box<[u8]>)>,
    /// Bytes of it all, about.
    kept: usize,
    /// For what is kept, against what the sender may make us keep.
    charge: Charge,
}

struct Linked {
    directory: DirectoryPath,
    name: Box<[u8]>,
    /// It is as it should be already.
    stays: bool,
}

struct Link {
    directory: DirectoryPath,
    name: Box<[u8]>,
    target: Box<[u8]>,
    attributes: Attributes,
}

impl After {
    /// Nothing is left to do yet. What is kept counts against `memory`.
    pub(super) fn new(memory: &Memory) -> Self {
        Self { charge: memory.charge(), ..Self::default() }
    }

    /// Whether there is more than is kept; `beside` are bytes of directories whose turn comes later.
    pub(super) fn is_full(&mut self, beside: usize) -> bool {
        let kept = self.kept.saturating_add(beside);
        kept > MOST_KEPT || self.charge.at_least(kept).is_err()
    }

    /// Counts one more, with this many bytes beside its own size.
    fn keep(&mut self, bytes: usize) {
        const ONE: usize = 128;
        self.kept += ONE + bytes;
    }

    /// A directory gets its attributes. `touched` says that this is all that changes about it, which is counted
    /// then.
    pub(super) fn directory(&mut self, path: DirectoryPath, attributes: Attributes, touched: bool) {
        self.keep(path.len() + attributes.weight());
        self.directories.push((path, attributes, touched));
    }

    /// A symbolic link is made.
    pub(super) fn link(
        &mut self,
        directory: DirectoryPath,
        name: Box<[u8]>,
        target: Box<[u8]>,
        attributes: Attributes,
    ) {
        self.keep(name.len() + target.len() + attributes.weight());
        self.links.push(Link { directory, name, target, attributes });
    }

    /// A file that others may be the same as.
    pub(super) fn linked(
        &mut self,
        number: u64,
        directory: DirectoryPath,
        name: Box<[u8]>,
        stays: bool,
    ) {
        self.keep(name.len());
        self.linked.insert(number, Linked { directory, name, stays });
    }

    /// Whether what has a name is the same file as an earlier one, and stays so.
    pub(super) fn is_same(&self, first: u64, shared: &Shared, there: Option<&Stat>) -> bool {
        let (Some(Linked { directory, name, stays: true }), Some(there)) =
            (self.linked.get(&first), there)
        else {
            return false;
        };
        let first = shared.root.enter(directory).and_then(|directory| directory.stat(name));
        matches!(first, Ok(Some(is)) if is_same_file(&is, there))
    }

    /// A name that becomes the same file as an earlier one. Not if there is none.
    pub(super) fn same(&mut self, first: u64, directory: DirectoryPath, name: Box<[u8]>) -> bool {
        let known = self.linked.contains_key(&first);
        if known {
            self.keep(name.len());
            self.same.push((first, directory, name));
        }
        known
    }

    /// A name that the source does not have goes.
    pub(super) fn extra(&mut self, directory: DirectoryPath, name: Box<[u8]>) {
        self.keep(name.len());
        self.extra.push((directory, name));
    }

    /// A directory that is not empty has the name of something else.
    pub(super) fn in_the_way(&mut self, directory: DirectoryPath, name: Box<[u8]>) {
        self.keep(name.len());
        self.in_the_way.push((directory, name));
    }

    /// Does it all. `whole` says that the sender could read all of the source; without that nothing is
    /// removed. Gives how many links to files there are, and what was changed.
    pub(super) fn run(
        self,
        shared: &Arc<Shared>,
        replacements: &Replacements,
        filter: &Filter,
        whole: bool,
        max_delete: Option<u64>,
    ) -> (u64, Changed) {
        let mut work = Work { shared, filter, last: LastDirectory::default(), deleted: 0 };
        replacements.settle(false);
        let removes = whole && self.may_delete(shared, filter, max_delete);
        if removes {
            for (directory, name) in &self.extra {
                let outcome = work.removing(|removal| removal.remove(directory, name));
                work.note(outcome);
            }
            for (directory, name) in replacements.blocked() {
                let made = work.removing(|removal| removal.make_way(&directory, &name));
                work.note(made);
            }
        }
        replacements.settle(true);
        let (mut same, mut done) = (0, Changed::default());
        for (first, directory, name) in &self.same {
            let made = if shared.has_arrived(*first) {
                work.same(&self.linked[first], directory, name, removes)
            } else {
                let cause = Cause::BadRequest(UNLINKED.to_owned());
                let path = Some(shared.shown(directory, name));
                Err(Failure { action: Action::Create, path, cause })
            };
            same += u64::from(made.is_ok());
            done.files += u64::from(matches!(made, Ok(true)));
            work.note(made.map(drop));
        }
        for link in &self.links {
            let made = work.link(link, removes);
            done.others += u64::from(made.is_ok());
            work.note(made);
        }
        // Before the root gets its time.
        shared.none_is_staged();
        // What is inside first, for a directory may not be entered any more once it has its mode.
        for (path, attributes, touched) in self.directories.iter().rev() {
            let set = work.directory(path, attributes);
            done.others += u64::from(*touched && set.is_ok());
            work.note(set);
        }
        if shared.has_changed() {
            work.note(shared.sync());
        }
        done.deleted = work.deleted;
        (same, done)
    }

    /// The same in a dry run, in which everything else was told of already: what would be removed.
    pub(super) fn look(
        &self,
        shared: &Shared,
        filter: &Filter,
        whole: bool,
        max_delete: Option<u64>,
    ) -> Changed {
        let mut done = Changed::default();
        if !whole || !self.may_delete(shared, filter, max_delete) {
            return done;
        }
        let mut told = Deletes::new(shared);
        let failures = self.find(shared, filter, &mut |path| {
            done.deleted += 1;
            told.one(path);
        });
        told.send();
        failures.into_iter().for_each(|failure| shared.miss(failure));
        done
    }

    /// Whether anything may be removed, which is decided before the first name goes.
    fn may_delete(&self, shared: &Shared, filter: &Filter, max_delete: Option<u64>) -> bool {
        if shared.has_missed() {
            return false;
        }
        let Some(most) = max_delete else { return true };
        let mut count = 0;
        // What can't be read is told when it is to be removed.
        self.find(shared, filter, &mut |_| count += 1);
        if count > most {
            let (path, cause) = (shared.path.clone(), Cause::TooManyDeletes { count, most });
            shared.miss(Failure { action: Action::Request, path: Some(path), cause });
        }
        count <= most
    }

    /// Finds all names that are to be removed. Gives what can't be looked at, up to a bound.
    fn find(&self, shared: &Shared, filter: &Filter, told: &mut dyn FnMut(&[u8])) -> Vec<Failure> {
        const MOST: usize = 1024;
        let mut removal = Removal::new(shared, filter, true, told);
        let extra = self.extra.iter().map(|name| (name, true));
        let in_the_way = self.in_the_way.iter().map(|name| (name, false));
        let mut failures = Vec::new();
        for ((directory, name), goes) in extra.chain(in_the_way) {
            let found = if goes {
                removal.remove(directory, name)
            } else {
                removal.make_way(directory, name)
            };
            failures.extend(found.err().filter(|_| failures.len() < MOST));
        }
        failures
    }
}

struct Work<'a> {
    shared: &'a Arc<Shared>,
    filter: &'a Filter,
    last: LastDirectory,
    /// Names that were removed.
    deleted: u64,
}

impl Work<'_> {
    /// Removes something, and counts what has gone.
    fn removing<T>(&mut self, work: impl FnOnce(&mut Removal<'_>) -> T) -> T {
        let deleted = &mut self.deleted;
        let mut count = |_: &[u8]| *deleted += 1;
        work(&mut Removal::new(self.shared, self.filter, false, &mut count))
    }

    fn note(&self, done: Result<(), Failure>) {
        if let Err(failure) = done {
            self.shared.miss(failure);
        }
    }

    fn directory(&mut self, path: &DirectoryPath, attributes: &Attributes) -> Result<(), Failure> {
        let shown = self.shared.shown(path, b"");
        let failed = failed(Action::SetMetadata, &shown);
        let directory = self.shared.root.enter(path).map_err(&failed)?;
        if attributes.make_equal(&directory, &shown)? {
            self.shared.touch(&directory).map_err(&failed)?;
        }
        Ok(())
    }

    fn link(&mut self, link: &Link, removes: bool) -> Result<(), Failure> {
        let Link { directory, name, target, attributes } = link;
        let path = self.shared.shown(directory, name);
        let failed = |action| failed(action, &path);
        let open = self.last.open(self.shared, directory)?;
        let old = open.read_link(name);
        if old.is_ok_and(|old| *old == **target) {
            // Only its time or owner differs.
        } else if self.free(&open, directory, name, removes)? {
            open.make_link(name, target).map_err(failed(Action::Create))?;
        } else {
            let make = |staged: &[u8]| open.make_link(staged, target);
            self.replace(&open, name, &path, self.shared.finish.backup, make)?;
        }
        if attributes.uid.is_some() || attributes.gid.is_some() {
            let owned = open.set_owner(name, attributes.uid, attributes.gid);
            owned.map_err(failed(Action::SetMetadata))?;
        }
        open.set_times(name, &timestamps(attributes.mtime)).map_err(failed(Action::SetMetadata))
    }

    /// Makes a name the same file as an earlier one. Gives whether it was not yet.
    fn same(
        &mut self,
        first: &Linked,
        directory: &DirectoryPath,
        name: &[u8],
        removes: bool,
    ) -> Result<bool, Failure> {
        let Linked { directory: from, name: old, .. } = first;
        let path = self.shared.shown(directory, name);
        let failed = |action| failed(action, &path);
        let first = self.shared.root.enter(from).map_err(failed(Action::Create))?;
        let open = self.last.open(self.shared, directory)?;
        let is = first.stat(old).map_err(failed(Action::Read))?;
        let there = open.stat(name).map_err(failed(Action::Read))?;
        if let (Some(is), Some(there)) = (&is, &there)
            && is_same_file(is, there)
        {
            return Ok(false);
        }
        if self.free(&open, directory, name, removes)? {
            open.link(name, &first, old).map_err(failed(Action::Create))?;
            return Ok(true);
        }
        let backup = self.shared.finish.backup && !is_equal((&first, old), (&open, name));
        self.replace(&open, name, &path, backup, |staged| open.link(staged, &first, old))?;
        Ok(true)
    }

    /// Replaces a name by what `make` makes under a temporary one.
    fn replace(
        &self,
        directory: &Dir,
        name: &[u8],
        path: &[u8],
        backup: bool,
        make: impl Fn(&[u8]) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let staged = self.shared.stage(name);
        // Of an attempt that was killed there.
        let _ = directory.remove(&staged);
        make(&staged).map_err(failed(Action::Create, path))?;
        let kept = if backup { backup::keep(directory.as_fd(), name, path) } else { Ok(()) };
        let renamed = kept
            .and_then(|()| directory.rename(&staged, name).map_err(failed(Action::Rename, path)));
        if renamed.is_err() {
            self.shared.unstage(directory, &staged);
        }
        renamed
    }

    /// Whether nothing has the name. A directory that has it goes, if things are removed at all.
    fn free(
        &mut self,
        open: &Dir,
        directory: &DirectoryPath,
        name: &[u8],
        removes: bool,
    ) -> Result<bool, Failure> {
        let path = self.shared.shown(directory, name);
        self.shared.touch(open).map_err(failed(Action::Open, &path))?;
        let there = open.stat(name).map_err(failed(Action::Read, &path))?;
        let Some(stat) = there else { return Ok(true) };
        if !FileType::from_raw_mode(stat.st_mode).is_dir() {
            return Ok(false);
        }
        if open.remove_directory(name).is_ok() {
            return Ok(true);
        }
        if removes {
            self.removing(|removal| removal.make_way(directory, name))?;
            return Ok(true);
        }
        let cause = Cause::NotAFile(FileKind::Directory);
        Err(Failure { action: Action::Create, path: Some(path), cause })
    }
}

/// Whether two names have the same content: what is replaced by the same is not worth a backup.
fn is_equal((directory, name): (&Dir, &[u8]), (other, other_name): (&Dir, &[u8])) -> bool {
    let (Some(one), Some(other)) =
        (Replaced::find(directory, name), Replaced::find(other, other_name))
    else {
        return false;
    };
    let size = u64::try_from(one.stat.st_size).unwrap_or_default();
    one.file.is_some_and(|file| other.is_like(&file, size, 0))
}

fn is_same_file(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}
