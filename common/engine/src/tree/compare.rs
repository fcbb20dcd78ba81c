//! One entry against what is there under its name: what is done at once, and what is wanted.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{FileType, Stat};

use super::manifest::{Decided, Manifest, Present, State};
use super::order::{DirectoryPath, fits};
use super::shared::Wanted;
use super::verdict::{Verdict, verdict};
use super::walk::hash_of;
use crate::Partial;
use crate::attributes::{self, Attributes};
use crate::backup;
use crate::basis::MIN_BASIS;
use crate::confined::Dir;
use crate::error::failed;
use lariat_wire::limits::CHUNK;
use lariat_wire::protocol::failure::{Action, Cause, Failure, FileKind};
use lariat_wire::protocol::transfer::Hash;
use lariat_wire::protocol::tree::{Answer, Change, ChangeKind, Entry, MAX_PACKED, What};

/// One entry.
pub(super) struct Comparing<'a> {
    pub(super) decider: &'a mut Manifest,
    pub(super) present: &'a Present,
    pub(super) number: u64,
    pub(super) path: Vec<u8>,
    pub(super) attributes: Attributes,
    pub(super) weight: usize,
    pub(super) decided: &'a mut Decided,
}

impl Comparing<'_> {
    /// What is wanted of the entry. `state` becomes that of the directory, if it is one.
    pub(super) fn answer(&mut self, entry: &Entry, state: &mut State) -> Result<Answer, Failure> {
        if self.present.state == State::Lost {
            return Ok(Answer::Nothing);
        }
        if let Some(failure) = self.decider.avoid.get(&self.path) {
            return Err(failure.clone());
        }
        if !fits(&self.present.path, &entry.name) {
            let long = rustix::io::Errno::NAMETOOLONG;
            return Err(self.failed(Action::Create)(long.into()));
        }
        if let What::Other(kind) = entry.what {
            self.decided.skipped.push((std::mem::take(&mut self.path), kind));
            return Ok(Answer::Nothing);
        }
        let there = match (&self.present.directory, self.present.state) {
            (Some(directory), State::Old) => {
                directory.stat(&entry.name).map_err(self.failed(Action::Read))?
            }
            _ => None,
        };
        if let (Some(directory), Some(stat)) = (&self.present.directory, &there) {
            let (wanted, is) = (self.attributes.mtime, attributes::mtime(stat));
            self.attributes.mtime = self.decider.times.as_held(directory, wanted, is);
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
    ) -> Result<State, Failure> {
        let same =
            verdict == Verdict::Same && there.is_some_and(|stat| self.attributes.are_of(stat));
        let kind = (!same).then(|| verdict.change());
        self.decided.done.others += u64::from(self.decider.counts_now(kind));
        if !same && self.decider.options.dry_run {
            self.change(verdict);
        }
        let made = match verdict {
            Verdict::Same => State::Old,
            _ if self.decider.options.dry_run => return Ok(State::Imagined),
            _ => {
                let directory = self.open_directory()?;
                self.touch()?;
                if verdict == Verdict::Clear {
                    self.clear(directory, &entry.name)?;
                }
                directory
                    .make_directory(&entry.name)
                    .map_err(self.failed(Action::MakeDirectory))?;
                State::New
            }
        };
        if !self.decider.options.dry_run {
            let (path, touched) = (self.path.as_slice().into(), kind == Some(ChangeKind::Touch));
            self.decider.after.directory(path, self.attributes.clone(), touched);
        }
        Ok(made)
    }

    /// Takes away what is no directory, where one must be.
    fn clear(&self, directory: &Dir, name: &[u8]) -> Result<(), Failure> {
        if self.decider.shared.finish.backup {
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
            self.attributes.owns(stat) && attributes::mtime(stat) == self.attributes.mtime
        });
        if same && owned {
            return Ok(Answer::Nothing);
        }
        self.clear_empty(entry, verdict)?;
        if self.decider.options.dry_run {
            self.decided.done.others += 1;
            let replaced = if verdict == Verdict::Same { Verdict::Replace } else { verdict };
            self.change(if same { Verdict::Same } else { replaced });
            return Ok(Answer::Nothing);
        }
        let (directory, name) =
            (DirectoryPath::clone(&self.present.path), entry.name.as_slice().into());
        let (target, attributes) = (target.into(), self.attributes.clone());
        self.decider.after.link(directory, name, target, attributes);
        Ok(Answer::Nothing)
    }

    fn same(&mut self, entry: &Entry, first: u64, there: Option<&Stat>) -> Result<Answer, Failure> {
        if there.is_some_and(is_directory) {
            self.clear_empty(entry, Verdict::Directory)?;
        }
        if self.decider.options.dry_run {
            self.decided.files += 1;
            if !self.decider.after.is_same(first, &self.decider.shared, there) {
                self.decided.done.files += 1;
                self.change(there.map_or(Verdict::Make, |_| Verdict::Replace));
            }
            return Ok(Answer::Nothing);
        }
        let directory = DirectoryPath::clone(&self.present.path);
        if !self.decider.after.same(first, directory, entry.name.as_slice().into()) {
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
            let compared = compared(self.open_directory()?, &entry.name, hash);
            verdict = compared.map_err(self.failed(Action::Read))?;
        }
        if let Some(number) = linked {
            let directory = DirectoryPath::clone(&self.present.path);
            let stays = verdict == Verdict::Same;
            self.decider.after.linked(number, directory, entry.name.as_slice().into(), stays);
        }
        if let (Verdict::Same, Some(stat)) = (verdict, there) {
            self.decided.files += 1;
            self.decided.bytes += size;
            self.decider.shared.arrived(linked);
            self.attributes_only(entry, stat)?;
            return Ok(Answer::Nothing);
        }
        let clears = self.clear_empty(entry, verdict)?;
        if self.decider.options.dry_run {
            self.decided.files += 1;
            self.decided.bytes += size;
            self.decided.done.files += 1;
            self.change(verdict);
            return Ok(Answer::Nothing);
        }
        let difference = self.has_something(entry, size, there)?;
        let wanted = Wanted {
            directory: DirectoryPath::clone(&self.present.path),
            name: entry.name.as_slice().into(),
            attributes: self.attributes.clone(),
            replaces: verdict == Verdict::Replace || clears,
            clears,
            difference,
            linked,
            weight: self.weight,
        };
        self.decided.wanted.push((self.number, wanted));
        Ok(if difference { Answer::Difference } else { Answer::Content })
    }

    /// Whether there is something of a file that does not fit a pack: an older one, or what a broken attempt left.
    fn has_something(
        &self,
        entry: &Entry,
        size: u64,
        there: Option<&Stat>,
    ) -> Result<bool, Failure> {
        if size <= MAX_PACKED as u64 || self.present.state != State::Old {
            return Ok(false);
        }
        let directory = self.open_directory()?;
        if Partial::is_there(directory, &entry.name, self.decider.shared.owner) {
            return Ok(true);
        }
        // For one chunk an older file is of no use.
        let basis = there.is_some_and(|stat| {
            let size = u64::try_from(stat.st_size).unwrap_or_default();
            FileType::from_raw_mode(stat.st_mode).is_file() && size >= MIN_BASIS
        });
        Ok(basis && size > CHUNK as u64)
    }

    /// A file that has its content already gets what else differs.
    fn attributes_only(&mut self, entry: &Entry, stat: &Stat) -> Result<(), Failure> {
        if self.attributes.are_of(stat) && !self.attributes.are_beyond_stat() {
            return Ok(());
        }
        let file = self.open_directory()?.pin_file(&entry.name);
        let file = file.map_err(self.failed(Action::Open))?;
        if self.decider.options.dry_run {
            if self.attributes.differ(&file, &self.shown())? {
                self.decided.done.files += 1;
                self.change(Verdict::Same);
            }
        } else if self.attributes.make_equal(&file, &self.shown())? {
            self.touch()?;
        }
        Ok(())
    }

    /// An empty directory in the way of something else goes at once. Gives whether one that is not empty will.
    fn clear_empty(&mut self, entry: &Entry, verdict: Verdict) -> Result<bool, Failure> {
        if verdict != Verdict::Directory {
            return Ok(false);
        }
        let directory = self.open_directory()?;
        let gone = if self.decider.options.dry_run {
            let names = directory.enter(&entry.name).and_then(|inner| inner.names());
            names.map_err(self.failed(Action::Read))?.is_empty()
        } else {
            directory.remove_directory(&entry.name).is_ok()
        };
        if gone {
            return Ok(false);
        }
        if self.decider.options.delete {
            let path = DirectoryPath::clone(&self.present.path);
            self.decider.after.in_the_way(path, entry.name.as_slice().into());
            return Ok(true);
        }
        Err(self.failure(Action::Create, Cause::NotAFile(FileKind::Directory)))
    }

    fn open_directory(&self) -> Result<&Dir, Failure> {
        self.present.directory.as_ref().ok_or_else(|| self.failure(Action::Open, Cause::Internal))
    }

    fn touch(&self) -> Result<(), Failure> {
        self.decider.shared.touch(self.open_directory()?).map_err(self.failed(Action::Open))
    }

    fn change(&mut self, verdict: Verdict) {
        self.decided.changes.push(Change { path: self.shown(), kind: verdict.change() });
    }

    fn shown(&self) -> Vec<u8> {
        self.decider.shared.shown(&self.path, b"")
    }

    fn failed(&self, action: Action) -> impl Fn(io::Error) -> Failure + use<> {
        failed(action, &self.shown())
    }

    fn failure(&self, action: Action, cause: Cause) -> Failure {
        Failure { action, path: Some(self.shown()), cause }
    }
}

/// Whether a file that is as long as it should be has the same bytes. It is read to its end.
pub(super) fn compared(directory: &Dir, name: &[u8], hash: Option<Hash>) -> io::Result<Verdict> {
    let file = match directory.open_file(name) {
        // One that may not be read is replaced, for all that is known.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(Verdict::Replace);
        }
        file => file?,
    };
    let is = hash_of(&file, u64::MAX)?;
    Ok(if Some(is) == hash { Verdict::Same } else { Verdict::Replace })
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_dir()
}
