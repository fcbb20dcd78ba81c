//! Does what was deferred until all contents are there: removals, links, attributes of directories, and the
//! final sync.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::{FileType, Stat};

use super::deferred::{Deferred, Directory, Linked, SymbolicLink};
use super::delete_report::DeleteReport;
use super::filter::Filter;
use super::order::DirectoryPath;
use super::removal::Removal;
use super::replacements::Replacements;
use super::shared::{LastDirectory, Shared};
use crate::confined::Dir;
use crate::error::failed;
use crate::file::backup;
use crate::metadata::attributes::timestamps;
use crate::metadata::replaced::Replaced;
use lariat_wire::protocol::failure::{Action, Cause, Failure, FileKind};
use lariat_wire::protocol::tree::Changed;

/// Why a name is not linked to a file.
const UNLINKED: &str = "the file that it is another name of did not arrive";

/// Finishes a tree.
pub(super) struct Finish<'a> {
    shared: &'a Arc<Shared>,
    filter: &'a Filter,
    /// `--max-delete`.
    max_delete: Option<u64>,
    last: LastDirectory,
    /// Names that were removed.
    deleted: u64,
}

impl<'a> Finish<'a> {
    pub(super) fn new(
        shared: &'a Arc<Shared>,
        filter: &'a Filter,
        max_delete: Option<u64>,
    ) -> Self {
        Self { shared, filter, max_delete, last: LastDirectory::default(), deleted: 0 }
    }

    /// Does it all. `whole` says that the sender could read all of the source; otherwise nothing is
    /// removed. Returns how many files are links to others, and what was changed.
    pub(super) fn run(
        mut self,
        deferred: &Deferred,
        replacements: &Replacements,
        whole: bool,
    ) -> (u64, Changed) {
        replacements.settle(false);
        let removes = whole && self.may_delete(deferred);
        if removes {
            for (directory, name) in &deferred.extra {
                let outcome = self.removing(|removal| removal.remove(directory, name));
                self.note(outcome);
            }
            for (directory, name) in replacements.blocked() {
                let made = self.removing(|removal| removal.make_way(&directory, &name));
                self.note(made);
            }
        }
        replacements.settle(true);
        let (mut same, mut done) = (0, Changed::default());
        for (first, directory, name) in &deferred.same {
            let made = if self.shared.has_arrived(*first) {
                self.same(&deferred.linked[first], directory, name, removes)
            } else {
                let cause = Cause::BadRequest(UNLINKED.to_owned());
                let path = Some(self.shared.shown(directory, name));
                Err(Failure { action: Action::Create, path, cause })
            };
            same += u64::from(made.is_ok());
            done.files += u64::from(matches!(made, Ok(true)));
            self.note(made.map(drop));
        }
        for link in &deferred.links {
            let made = self.link(link, removes);
            done.others += u64::from(made.is_ok());
            self.note(made);
        }
        // This changes the root's time, which is set below.
        self.shared.end_staging();
        // Children come first: a directory's final mode may forbid to enter it.
        for directory in deferred.directories.iter().rev() {
            let set = self.directory(directory);
            done.others += u64::from(directory.touched && set.is_ok());
            self.note(set);
        }
        if self.shared.has_changed() {
            self.note(self.shared.sync());
        }
        done.deleted = self.deleted;
        (same, done)
    }

    /// Ends a dry run: reports what would be removed. Everything else was reported when it was decided.
    pub(super) fn dry_run(&self, deferred: &Deferred, whole: bool) -> Changed {
        let mut done = Changed::default();
        if !whole || !self.may_delete(deferred) {
            return done;
        }
        let mut report = DeleteReport::new(self.shared);
        let failures = self.find(deferred, &mut |path| {
            done.deleted += 1;
            report.add(path);
        });
        report.send();
        failures.into_iter().for_each(|failure| self.shared.miss(failure));
        done
    }

    /// Whether anything may be removed. This is decided before the first name is removed.
    fn may_delete(&self, deferred: &Deferred) -> bool {
        if self.shared.has_missed() {
            return false;
        }
        let Some(most) = self.max_delete else { return true };
        let mut count = 0;
        // Failures are reported by the removal itself.
        self.find(deferred, &mut |_| count += 1);
        if count > most {
            let (path, cause) = (self.shared.path.clone(), Cause::TooManyDeletes { count, most });
            self.shared.miss(Failure { action: Action::Request, path: Some(path), cause });
        }
        count <= most
    }

    /// Finds all names that are to be removed. Returns the first failures to read them.
    fn find(&self, deferred: &Deferred, found: &mut dyn FnMut(&[u8])) -> Vec<Failure> {
        const MAX_FAILURES: usize = 1024;
        let mut removal = Removal::new(self.shared, self.filter, true, found);
        let extra = deferred.extra.iter().map(|name| (name, true));
        let in_the_way = deferred.in_the_way.iter().map(|name| (name, false));
        let mut failures = Vec::new();
        for ((directory, name), is_extra) in extra.chain(in_the_way) {
            let found = if is_extra {
                removal.remove(directory, name)
            } else {
                removal.make_way(directory, name)
            };
            failures.extend(found.err().filter(|_| failures.len() < MAX_FAILURES));
        }
        failures
    }

    /// Removes something, and counts the removed names.
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

    /// Gives a directory its attributes.
    fn directory(&self, directory: &Directory) -> Result<(), Failure> {
        let shown = self.shared.shown(&directory.path, b"");
        let failed = failed(Action::SetMetadata, &shown);
        let open = self.shared.root.enter(&directory.path).map_err(&failed)?;
        if directory.attributes.apply(&open, &shown)? {
            self.shared.touch(&open).map_err(&failed)?;
        }
        Ok(())
    }

    /// Makes a symbolic link.
    fn link(&mut self, link: &SymbolicLink, removes: bool) -> Result<(), Failure> {
        let SymbolicLink { directory, name, target, attributes } = link;
        let path = self.shared.shown(directory, name);
        let failed = |action| failed(action, &path);
        let open = self.last.open(self.shared, directory)?;
        let old = open.read_link(name);
        if old.is_ok_and(|old| old == **target) {
            // Only its time or owner differs.
        } else if self.free(&open, directory, name, removes)? {
            open.make_link(name, target).map_err(failed(Action::Create))?;
        } else {
            let make = |staged: &[u8]| open.make_link(staged, target);
            self.replace(&open, name, &path, self.shared.overrides.backup, make)?;
        }
        if attributes.uid.is_some() || attributes.gid.is_some() {
            let owned = open.set_owner(name, attributes.uid, attributes.gid);
            owned.map_err(failed(Action::SetMetadata))?;
        }
        open.set_times(name, &timestamps(attributes.mtime)).map_err(failed(Action::SetMetadata))
    }

    /// Links a name to an earlier file. Returns whether it was another file before.
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
        let backup = self.shared.overrides.backup && !is_equal((&first, old), (&open, name));
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
        // A killed attempt may have left it.
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

    /// Whether a name is free. A directory that has it is removed if it is empty, or if removals are allowed.
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

/// Whether two names have the same content, so that a replacement needs no backup.
fn is_equal((directory, name): (&Dir, &[u8]), (other, other_name): (&Dir, &[u8])) -> bool {
    let (Some(one), Some(other)) =
        (Replaced::find(directory, name), Replaced::find(other, other_name))
    else {
        return false;
    };
    let size = u64::try_from(one.stat.st_size).unwrap_or_default();
    one.file.is_some_and(|file| other.is_like(&file, size, 0))
}

/// Whether both are the same file.
pub(super) fn is_same_file(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}
