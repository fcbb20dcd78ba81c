//! One entry against what is there under its name: what is done at once, and what is wanted.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{FileType, Stat};

use super::decide::{Verdict, verdict};
use super::decider::{Decided, Decider, Present, State};
use super::order::{FolderPath, fits};
use super::shared::Wanted;
use super::walk::hash_of;
use crate::Partial;
use crate::attributes::{self, Attributes};
use crate::backup;
use crate::basis::MIN_BASIS;
use crate::confined::Folder;
use crate::error::failed;
use lariat_wire::limits::CHUNK;
use lariat_wire::protocol::failure::{Action, Cause, Failure, FileKind};
use lariat_wire::protocol::transfer::Hash;
use lariat_wire::protocol::tree::{Answer, Change, ChangeKind, Entry, MAX_PACKED, What};

/// One entry.
pub(super) struct Deciding<'a> {
    pub(super) decider: &'a mut Decider,
    pub(super) present: &'a Present,
    pub(super) number: u64,
    pub(super) path: Vec<u8>,
    pub(super) attributes: Attributes,
    pub(super) weight: usize,
    pub(super) decided: &'a mut Decided,
}

impl Deciding<'_> {
    /// What is wanted of the entry. `state` becomes that of the folder, if it is one.
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
        let there = match (&self.present.folder, self.present.state) {
            (Some(folder), State::Old) => {
                folder.stat(&entry.name).map_err(self.failed(Action::Read))?
            }
            _ => None,
        };
        if let (Some(folder), Some(stat)) = (&self.present.folder, &there) {
            let (wanted, is) = (self.attributes.mtime, attributes::mtime(stat));
            self.attributes.mtime = self.decider.times.as_held(folder, wanted, is);
        }
        let verdict = verdict(&entry.what, &self.attributes, there.as_ref());
        match &entry.what {
            What::Folder => {
                *state = self.folder(entry, verdict, there.as_ref())?;
                Ok(Answer::Nothing)
            }
            What::Link { target } => self.link(entry, target, verdict, there.as_ref()),
            What::Same { entry: first } => self.same(entry, *first, there.as_ref()),
            What::File { .. } => self.file(entry, verdict, there.as_ref()),
            What::Other(_) => Ok(Answer::Nothing),
        }
    }

    fn folder(
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
                let folder = self.open_folder()?;
                self.touch()?;
                if verdict == Verdict::Clear {
                    self.clear(folder, &entry.name)?;
                }
                folder.make_folder(&entry.name).map_err(self.failed(Action::MakeFolder))?;
                State::New
            }
        };
        if !self.decider.options.dry_run {
            let (path, touched) = (self.path.as_slice().into(), kind == Some(ChangeKind::Touch));
            self.decider.after.folder(path, self.attributes.clone(), touched);
        }
        Ok(made)
    }

    /// Takes away what is no folder, where one must be.
    fn clear(&self, folder: &Folder, name: &[u8]) -> Result<(), Failure> {
        if self.decider.shared.finish.backup {
            return backup::move_away(folder.as_fd(), name, &self.shown());
        }
        folder.remove(name).map_err(self.failed(Action::Remove))
    }

    fn link(
        &mut self,
        entry: &Entry,
        target: &[u8],
        verdict: Verdict,
        there: Option<&Stat>,
    ) -> Result<Answer, Failure> {
        let same = verdict == Verdict::Same
            && self.open_folder()?.read_link(&entry.name).is_ok_and(|old| old == target);
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
        let (folder, name) = (FolderPath::clone(&self.present.path), entry.name.as_slice().into());
        let (target, attributes) = (target.into(), self.attributes.clone());
        self.decider.after.link(folder, name, target, attributes);
        Ok(Answer::Nothing)
    }

    fn same(&mut self, entry: &Entry, first: u64, there: Option<&Stat>) -> Result<Answer, Failure> {
        if there.is_some_and(is_folder) {
            self.clear_empty(entry, Verdict::Folder)?;
        }
        if self.decider.options.dry_run {
            self.decided.files += 1;
            if !self.decider.after.is_same(first, &self.decider.shared, there) {
                self.decided.done.files += 1;
                self.change(there.map_or(Verdict::Make, |_| Verdict::Replace));
            }
            return Ok(Answer::Nothing);
        }
        let folder = FolderPath::clone(&self.present.path);
        if !self.decider.after.same(first, folder, entry.name.as_slice().into()) {
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
            let compared = compared(self.open_folder()?, &entry.name, hash);
            verdict = compared.map_err(self.failed(Action::Read))?;
        }
        if let Some(number) = linked {
            let folder = FolderPath::clone(&self.present.path);
            let stays = verdict == Verdict::Same;
            self.decider.after.linked(number, folder, entry.name.as_slice().into(), stays);
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
            folder: FolderPath::clone(&self.present.path),
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
        let folder = self.open_folder()?;
        if Partial::is_there(folder, &entry.name, self.decider.shared.owner) {
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
        let file = self.open_folder()?.pin_file(&entry.name);
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
        if verdict != Verdict::Folder {
            return Ok(false);
        }
        let folder = self.open_folder()?;
        let gone = if self.decider.options.dry_run {
            let names = folder.enter(&entry.name).and_then(|inner| inner.names());
            names.map_err(self.failed(Action::Read))?.is_empty()
        } else {
            folder.remove_folder(&entry.name).is_ok()
        };
        if gone {
            return Ok(false);
        }
        if self.decider.options.delete {
            let path = FolderPath::clone(&self.present.path);
            self.decider.after.in_the_way(path, entry.name.as_slice().into());
            return Ok(true);
        }
        Err(self.failure(Action::Create, Cause::NotAFile(FileKind::Folder)))
    }

    fn open_folder(&self) -> Result<&Folder, Failure> {
        self.present.folder.as_ref().ok_or_else(|| self.failure(Action::Open, Cause::Internal))
    }

    fn touch(&self) -> Result<(), Failure> {
        self.decider.shared.touch(self.open_folder()?).map_err(self.failed(Action::Open))
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
pub(super) fn compared(folder: &Folder, name: &[u8], hash: Option<Hash>) -> io::Result<Verdict> {
    let file = match folder.open_file(name) {
        // One that may not be read is replaced, for all that is known.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(Verdict::Replace);
        }
        file => file?,
    };
    let is = hash_of(&file, u64::MAX)?;
    Ok(if Some(is) == hash { Verdict::Same } else { Verdict::Replace })
}

fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_dir()
}
