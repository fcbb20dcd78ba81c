//! Compares one entry with what exists under its name: some changes are made at once, and contents are
//! wanted.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::{FileType, Stat};

use super::avoid::Avoid;
use super::decided::{Decided, DirectoryState, Wanted};
use super::deferred::{Deferred, Directory, Linked, SymbolicLink};
use super::finish::is_same_file;
use super::order::{DirectoryPath, fits};
use super::shared::Shared;
use super::verdict::{Verdict, compare_hash, verdict};
use crate::chunk::whole::UNLIKE_ANY;
use crate::confined::Dir;
use crate::error::failed;
use crate::file::basis::MIN_BASIS;
use crate::file::{Partial, backup};
use crate::metadata::attributes::{self, Attributes};
use crate::metadata::disk_times::DiskTimes;
use lariat_wire::limits::CHUNK;
use lariat_wire::protocol::failure::{Action, Cause, Failure, FileKind};
use lariat_wire::protocol::tree::{
    Answer, Change, ChangeKind, Entry, MAX_PACKED, TreeOptions, What,
};

/// What all comparisons of one tree share.
pub(super) struct Comparer {
    pub(super) shared: Arc<Shared>,
    pub(super) options: TreeOptions,
    pub(super) avoid: Avoid,
    pub(super) times: DiskTimes,
    pub(super) deferred: Deferred,
}

impl Comparer {
    /// Whether a change of a directory is counted when it is decided, and not when it is made.
    pub(super) fn counts_now(&self, kind: Option<ChangeKind>) -> bool {
        match kind {
            None => false,
            Some(ChangeKind::Touch) => self.options.dry_run,
            Some(_) => true,
        }
    }
}

/// A directory as it exists here.
pub(super) struct OpenDirectory {
    pub(super) path: DirectoryPath,
    pub(super) state: DirectoryState,
    pub(super) directory: Option<Dir>,
}

/// The comparison of one entry.
pub(super) struct Comparing<'a> {
    pub(super) comparer: &'a mut Comparer,
    pub(super) directory: &'a OpenDirectory,
    pub(super) number: u64,
    pub(super) path: Vec<u8>,
    pub(super) attributes: Attributes,
    pub(super) weight: usize,
    /// The entry said that its ACL is dropped.
    pub(super) acl_reported: bool,
    /// It is a directory that an earlier source has brought.
    pub(super) is_shared: bool,
    pub(super) decided: &'a mut Decided,
}

impl Comparing<'_> {
    /// Compares the entry. If it is a directory, `state` becomes its state.
    pub(super) fn answer(
        &mut self,
        entry: &Entry,
        state: &mut DirectoryState,
    ) -> Result<Answer, Failure> {
        if self.directory.state == DirectoryState::Lost {
            return Ok(Answer::Nothing);
        }
        if let Some(failure) = self.comparer.avoid.get(&self.path) {
            return Err(failure.clone());
        }
        if !fits(&self.directory.path, &entry.name) {
            let long = rustix::io::Errno::NAMETOOLONG;
            return Err(self.failed(Action::Create)(long.into()));
        }
        if let What::Other(kind) = entry.what {
            self.decided.skipped.push((std::mem::take(&mut self.path), kind));
            return Ok(Answer::Nothing);
        }
        let there = match (&self.directory.directory, self.directory.state) {
            (Some(directory), DirectoryState::Old) => {
                directory.stat(&entry.name).map_err(self.failed(Action::Read))?
            }
            _ => None,
        };
        if let (Some(directory), Some(stat)) = (&self.directory.directory, &there) {
            let (wanted, is) = (self.attributes.mtime, attributes::mtime(stat));
            self.attributes.mtime = self.comparer.times.as_stored(directory, wanted, is);
        }
        match &there {
            Some(stat) if self.is_shared => self.attributes.keep(stat),
            // A dry run has told that it would be made.
            None if self.is_shared && self.comparer.options.dry_run => {
                *state = DirectoryState::Imagined;
                return Ok(Answer::Nothing);
            }
            _ => {}
        }
        let verdict = verdict(&entry.what, &self.attributes, there.as_ref());
        match &entry.what {
            What::Directory => {
                *state = self.directory(entry, verdict, there.as_ref())?;
                Ok(Answer::Nothing)
            }
            What::Link { target } => self.link(entry, target, verdict, there.as_ref()),
            What::Same { entry: first } => self.same(entry, *first, there.as_ref()),
            What::File { .. } => self.file(entry, verdict, there.as_ref()),
            What::Other(_) => Ok(Answer::Nothing),
        }
    }

    fn directory(
        &mut self,
        entry: &Entry,
        verdict: Verdict,
        there: Option<&Stat>,
    ) -> Result<DirectoryState, Failure> {
        let same =
            verdict == Verdict::Same && there.is_some_and(|stat| self.attributes.match_stat(stat));
        let kind = (!same).then(|| verdict.change());
        self.decided.done.others += u64::from(self.comparer.counts_now(kind));
        if !same && self.comparer.options.dry_run {
            self.change(verdict);
        }
        let made = match verdict {
            Verdict::Same => DirectoryState::Old,
            _ if self.comparer.options.dry_run => return Ok(DirectoryState::Imagined),
            _ => {
                let directory = self.open_directory()?;
                self.touch()?;
                if verdict == Verdict::Clear {
                    self.clear(directory, &entry.name)?;
                }
                directory
                    .make_directory(&entry.name)
                    .map_err(self.failed(Action::MakeDirectory))?;
                DirectoryState::New
            }
        };
        if !self.comparer.options.dry_run {
            let attributes = self.attributes.clone();
            let (path, touched) = (self.path.as_slice().into(), kind == Some(ChangeKind::Touch));
            self.comparer.deferred.directory(Directory { path, attributes, touched });
        }
        Ok(made)
    }

    /// Removes what is not a directory, where one is to be made.
    fn clear(&self, directory: &Dir, name: &[u8]) -> Result<(), Failure> {
        if self.comparer.shared.overrides.backup {
            return backup::move_away(directory.as_fd(), name, &self.shown());
        }
        directory.remove(name).map_err(self.failed(Action::Remove))
    }

    fn link(
        &mut self,
        entry: &Entry,
        target: &[u8],
        verdict: Verdict,
        there: Option<&Stat>,
    ) -> Result<Answer, Failure> {
        let same = verdict == Verdict::Same
            && self.open_directory()?.read_link(&entry.name).is_ok_and(|old| old == target);
        let owned = there.is_some_and(|stat| {
            self.attributes.owner_matches(stat) && attributes::mtime(stat) == self.attributes.mtime
        });
        if same && owned {
            return Ok(Answer::Nothing);
        }
        self.clear_empty(entry, verdict)?;
        if self.comparer.options.dry_run {
            self.decided.done.others += 1;
            let replaced = if verdict == Verdict::Same { Verdict::Replace } else { verdict };
            self.change(if same { Verdict::Same } else { replaced });
            return Ok(Answer::Nothing);
        }
        self.comparer.deferred.link(SymbolicLink {
            directory: DirectoryPath::clone(&self.directory.path),
            name: entry.name.as_slice().into(),
            target: target.into(),
            attributes: self.attributes.clone(),
        });
        Ok(Answer::Nothing)
    }

    fn same(&mut self, entry: &Entry, first: u64, there: Option<&Stat>) -> Result<Answer, Failure> {
        if there.is_some_and(is_directory) {
            self.clear_empty(entry, Verdict::Directory)?;
        }
        if self.comparer.options.dry_run {
            self.decided.files += 1;
            if !self.is_linked(first, there) {
                self.decided.done.files += 1;
                self.change(there.map_or(Verdict::Make, |_| Verdict::Replace));
            }
            return Ok(Answer::Nothing);
        }
        let directory = DirectoryPath::clone(&self.directory.path);
        if !self.comparer.deferred.same(first, directory, entry.name.as_slice().into()) {
            let cause = Cause::BadRequest("it is linked to a file that was not sent".to_owned());
            return Err(self.failure(Action::Create, cause));
        }
        Ok(Answer::Nothing)
    }

    fn file(
        &mut self,
        entry: &Entry,
        mut verdict: Verdict,
        there: Option<&Stat>,
    ) -> Result<Answer, Failure> {
        let What::File { size, hash, linked } = entry.what else { return Ok(Answer::Nothing) };
        let linked = linked.then_some(self.number);
        if verdict == Verdict::Hash {
            let compared = compare_hash(self.open_directory()?, &entry.name, hash);
            verdict = compared.map_err(self.failed(Action::Read))?;
        }
        if verdict == Verdict::Same
            && there.is_some_and(|there| self.comparer.shared.root.shuns(there))
        {
            verdict = Verdict::Replace;
        }
        if let Some(number) = linked {
            let directory = DirectoryPath::clone(&self.directory.path);
            let (name, stays) = (entry.name.as_slice().into(), verdict == Verdict::Same);
            self.comparer.deferred.linked(number, Linked { directory, name, stays });
        }
        if let (Verdict::Same, Some(stat)) = (verdict, there) {
            self.decided.files += 1;
            self.decided.bytes += size;
            self.comparer.shared.arrived(linked);
            self.attributes_only(entry, stat)?;
            return Ok(Answer::Nothing);
        }
        let clears = self.clear_empty(entry, verdict)?;
        if self.comparer.options.dry_run {
            self.decided.files += 1;
            self.decided.bytes += size;
            self.decided.done.files += 1;
            self.change(verdict);
            return Ok(Answer::Nothing);
        }
        let difference = self.has_something(entry, size, there)?;
        let wanted = Wanted {
            directory: DirectoryPath::clone(&self.directory.path),
            name: entry.name.as_slice().into(),
            attributes: self.attributes.clone(),
            hash: hash.filter(|hash| *hash != UNLIKE_ANY),
            replaces: verdict == Verdict::Replace || clears,
            clears,
            difference,
            acl_reported: self.acl_reported,
            linked,
            weight: self.weight,
        };
        self.decided.wanted.push((self.number, wanted));
        Ok(if difference { Answer::Difference } else { Answer::Content })
    }

    /// Whether an existing name is a link to the earlier file `first`, which stays.
    fn is_linked(&self, first: u64, there: Option<&Stat>) -> bool {
        let (Some(Linked { directory, name, stays: true }), Some(there)) =
            (self.comparer.deferred.linked.get(&first), there)
        else {
            return false;
        };
        let directory = self.comparer.shared.root.enter(directory);
        let first = directory.and_then(|directory| directory.stat(name));
        matches!(first, Ok(Some(is)) if is_same_file(&is, there))
    }

    /// Whether a part of a file that does not fit a pack exists here: an older version, or the partial of an
    /// earlier attempt.
    fn has_something(
        &self,
        entry: &Entry,
        size: u64,
        there: Option<&Stat>,
    ) -> Result<bool, Failure> {
        if size <= MAX_PACKED as u64 || self.directory.state != DirectoryState::Old {
            return Ok(false);
        }
        let directory = self.open_directory()?;
        if Partial::is_there(directory, &entry.name, self.comparer.shared.owner) {
            return Ok(true);
        }
        // A single chunk is sent whole.
        let basis = there.is_some_and(|stat| {
            let size = u64::try_from(stat.st_size).unwrap_or_default();
            FileType::from_raw_mode(stat.st_mode).is_file() && size >= MIN_BASIS
        });
        Ok(basis && size > CHUNK as u64)
    }

    /// Sets the attributes of a file whose content is up to date.
    fn attributes_only(&mut self, entry: &Entry, stat: &Stat) -> Result<(), Failure> {
        if self.attributes.match_stat(stat) && !self.attributes.are_beyond_stat() {
            return Ok(());
        }
        let file = self.open_directory()?.pin_file(&entry.name);
        let file = file.map_err(self.failed(Action::Open))?;
        if self.comparer.options.dry_run {
            if self.attributes.differ(&file, &self.shown())? {
                self.decided.done.files += 1;
                self.change(Verdict::Same);
            }
        } else if self.attributes.apply(&file, &self.shown())? {
            self.decided.done.files += 1;
            self.touch()?;
        }
        Ok(())
    }

    /// Removes an empty directory whose name something else must get. Returns whether a directory that is not
    /// empty will be removed at the end.
    fn clear_empty(&mut self, entry: &Entry, verdict: Verdict) -> Result<bool, Failure> {
        if verdict != Verdict::Directory {
            return Ok(false);
        }
        let directory = self.open_directory()?;
        let gone = if self.comparer.options.dry_run {
            let names = directory.enter(&entry.name).and_then(|inner| inner.names());
            names.map_err(self.failed(Action::Read))?.is_empty()
        } else {
            directory.remove_directory(&entry.name).is_ok()
        };
        if gone {
            return Ok(false);
        }
        if self.comparer.options.delete {
            let path = DirectoryPath::clone(&self.directory.path);
            self.comparer.deferred.in_the_way(path, entry.name.as_slice().into());
            return Ok(true);
        }
        Err(self.failure(Action::Create, Cause::NotAFile(FileKind::Directory)))
    }

    fn open_directory(&self) -> Result<&Dir, Failure> {
        self.directory.directory.as_ref().ok_or_else(|| self.failure(Action::Open, Cause::Internal))
    }

    fn touch(&self) -> Result<(), Failure> {
        self.comparer.shared.touch(self.open_directory()?).map_err(self.failed(Action::Open))
    }

    fn change(&mut self, verdict: Verdict) {
        self.decided.changes.push(Change { path: self.shown(), kind: verdict.change() });
    }

    fn shown(&self) -> Vec<u8> {
        self.comparer.shared.shown(&self.path, b"")
    }

    fn failed(&self, action: Action) -> impl Fn(io::Error) -> Failure {
        move |error| failed(action, &self.shown())(error)
    }

    fn failure(&self, action: Action, cause: Cause) -> Failure {
        Failure { action, path: Some(self.shown()), cause }
    }
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_dir()
}
