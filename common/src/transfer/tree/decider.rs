//! Goes through the manifest as it comes, makes folders, and says what is wanted of the rest. On a
//! thread beside the network, for it looks at every name that is there.

use std::sync::Arc;

use rustix::fs::{Mode, Stat};

use super::attributes::{Attributes, Translator};
use super::decide::{Verdict, verdict};
use super::filter::Filter;
use super::finish::After;
use super::order::{FolderPath, Order, fits};
use super::read::Avoid;
use super::shared::{Shared, Wanted};
use super::walk::hash_of;
use crate::beneath::{Folder, Names, join};
use crate::limits::CHUNK;
use crate::protocol::failure::{Action, Cause, Failure, FileKind};
use crate::protocol::tree::{
    Answer, Answers, Change, ChangeKind, Entries, Entry, TreeOptions, What,
};
use crate::transfer::basis::MIN_BASIS;
use crate::transfer::error::failed;
use crate::transfer::{Partial, sweep};

/// What follows from one message of entries.
#[derive(Default)]
pub(super) struct Decided {
    pub(super) answers: Option<Answers>,
    pub(super) wanted: Vec<(u64, Wanted)>,
    /// Of entries that are settled by the answer.
    pub(super) weight: usize,
    pub(super) changes: Vec<Change>,
    pub(super) skipped: Vec<(Vec<u8>, FileKind)>,
    /// Files that are as they should be, and their bytes.
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// What is known of a folder whose entries come later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It was there.
    Old,
    /// It was made a moment ago.
    New,
    /// It would be made, were this no dry run.
    Imagined,
    /// It could not be made: what is in it can't be either, which need not be said again.
    Lost,
}

/// A manifest that can't be.
#[derive(Debug)]
pub(super) struct BadManifest(pub(super) &'static str);

pub(super) struct Decider {
    shared: Arc<Shared>,
    options: TreeOptions,
    filter: Filter,
    avoid: Avoid,
    translator: Translator,
    order: Order<State>,
    /// The present folder, once the first of its entries have come.
    present: Option<Present>,
    after: After,
}

/// The present folder as it is here.
struct Present {
    path: FolderPath,
    state: State,
    folder: Option<Folder>,
    /// Names that are there and may have to go, and how many of them have been looked at.
    names: Names,
    seen: usize,
}

impl Decider {
    pub(super) fn new(
        shared: Arc<Shared>,
        options: TreeOptions,
        filter: Filter,
        avoid: Avoid,
        mut root: Entry,
        state: State,
    ) -> Self {
        let mut translator = Translator::new(&options, shared.finish.clone());
        let mut after = After::default();
        if state != State::Imagined {
            after.folder(Arc::new([]), translator.attributes(&mut root));
        }
        let order = Order::new(state);
        Self { shared, options, filter, avoid, translator, order, present: None, after }
    }

    /// Nothing more comes: gives what is left to do.
    pub(super) fn end(self) -> Result<After, BadManifest> {
        match self.order.folder() {
            None => Ok(self.after),
            Some(_) => Err(BadManifest("its manifest ends too early")),
        }
    }

    /// Takes one message.
    pub(super) fn entries(&mut self, message: Entries) -> Result<Decided, BadManifest> {
        let mut decided = Decided::default();
        let mut present = match self.present.take() {
            Some(present) => present,
            None => self.enter()?,
        };
        let mut answers = Answers { first: 0, answers: Vec::with_capacity(message.entries.len()) };
        for entry in message.entries {
            let bad = |_| BadManifest("its manifest has a name twice, or in no order");
            let number = self.order.entry(&entry.name).map_err(bad)?;
            if answers.first == 0 {
                answers.first = number;
            }
            self.extra(&mut present, Some(&entry.name), &mut decided);
            let answer = self.entry(&present, number, entry, &mut decided)?;
            answers.answers.push(answer as u8);
        }
        if answers.first > 0 {
            decided.answers = Some(answers);
        }
        if message.last {
            self.extra(&mut present, None, &mut decided);
            self.order.last().map_err(|_| BadManifest("its manifest goes on after its end"))?;
        } else {
            self.present = Some(present);
        }
        Ok(decided)
    }

    fn enter(&mut self) -> Result<Present, BadManifest> {
        let end = BadManifest("its manifest goes on after its end");
        let (path, &state) = self.order.folder().ok_or(end)?;
        let path = FolderPath::clone(path);
        let mut present = Present { path, state, folder: None, names: Names::default(), seen: 0 };
        if matches!(state, State::Old | State::New) {
            match self.open(&present.path, state) {
                Ok((folder, names)) => (present.folder, present.names) = (Some(folder), names),
                Err(failure) => {
                    self.shared.miss(failure);
                    present.state = State::Lost;
                }
            }
        }
        Ok(present)
    }

    fn open(&self, path: &[u8], state: State) -> Result<(Folder, Names), Failure> {
        let failed = |action| failed(action, &self.shared.shown(path, b""));
        let folder = self.shared.root.enter(path).map_err(failed(Action::Open))?;
        let mut names = Names::default();
        if state == State::Old {
            if self.options.delete {
                names = folder.names().map_err(failed(Action::Read))?;
                names.sort();
            }
            if !self.options.dry_run {
                self.open_up(&folder).map_err(failed(Action::SetMetadata))?;
            }
        }
        Ok((folder, names))
    }

    /// A folder that its owner may not write to gets its mode back at the end.
    fn open_up(&self, folder: &Folder) -> std::io::Result<()> {
        let mode = folder.stat_self()?.st_mode & 0o7777;
        if mode & 0o700 != 0o700 && !rustix::process::geteuid().is_root() {
            self.shared.touch(folder)?;
            rustix::fs::fchmod(folder, Mode::from_raw_mode(mode | 0o700))?;
        }
        Ok(())
    }

    /// Looks at the names here that come before `until`: the source does not have them.
    fn extra(&mut self, present: &mut Present, until: Option<&[u8]>, decided: &mut Decided) {
        let Some(folder) = &present.folder else { return };
        while let Some(name) = present.names.get(present.seen) {
            match until.map(|until| name.cmp(until)) {
                Some(std::cmp::Ordering::Greater) => return,
                Some(std::cmp::Ordering::Equal) => {
                    present.seen += 1;
                    return;
                }
                Some(std::cmp::Ordering::Less) | None => present.seen += 1,
            }
            let path = join(&present.path, name);
            let is_folder = match folder.stat(name) {
                Ok(Some(stat)) => is_folder(&stat),
                _ => continue,
            };
            if sweep::is_own(name) || self.filter.excludes(&path, is_folder) {
                continue;
            }
            if self.options.dry_run {
                decided.changes.push(Change { path, kind: ChangeKind::Delete });
            } else {
                self.after.extra(FolderPath::clone(&present.path), name.into());
            }
        }
    }

    fn entry(
        &mut self,
        present: &Present,
        number: u64,
        mut entry: Entry,
        decided: &mut Decided,
    ) -> Result<Answer, BadManifest> {
        let weight = entry.weight();
        let path = join(&present.path, &entry.name);
        if self.filter.excludes(&path, entry.what == What::Folder) {
            return Err(BadManifest("it sent a name that is excluded"));
        }
        let attributes = self.translator.attributes(&mut entry);
        let mut state = present.state;
        let mut deciding =
            Deciding { decider: self, present, number, path, attributes, weight, decided };
        let answer = match deciding.answer(&entry, &mut state) {
            Ok(answer) => answer,
            Err(failure) => {
                state = State::Lost;
                self.shared.miss(failure);
                Answer::Nothing
            }
        };
        if entry.what == What::Folder {
            self.order.descend(state);
        }
        if answer == Answer::Nothing {
            decided.weight += weight;
        }
        Ok(answer)
    }
}

/// One entry.
struct Deciding<'a> {
    decider: &'a mut Decider,
    present: &'a Present,
    number: u64,
    path: Vec<u8>,
    attributes: Attributes,
    weight: usize,
    decided: &'a mut Decided,
}

impl Deciding<'_> {
    /// What is wanted of the entry. `state` becomes that of the folder, if it is one.
    fn answer(&mut self, entry: &Entry, state: &mut State) -> Result<Answer, Failure> {
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
        let verdict = verdict(entry, &self.attributes, there.as_ref());
        match &entry.what {
            What::Folder => {
                *state = self.folder(entry, verdict)?;
                Ok(Answer::Nothing)
            }
            What::Link { target } => self.link(entry, target, verdict, there.as_ref()),
            What::Same { entry: first } => self.same(entry, *first, there.as_ref()),
            What::File { .. } => self.file(entry, verdict, there.as_ref()),
            What::Other(_) => Ok(Answer::Nothing),
        }
    }

    fn folder(&mut self, entry: &Entry, verdict: Verdict) -> Result<State, Failure> {
        let made = match verdict {
            Verdict::Same => State::Old,
            _ if self.decider.options.dry_run => {
                self.change(verdict);
                return Ok(State::Imagined);
            }
            _ => {
                let folder = self.open_folder()?;
                self.touch()?;
                if verdict == Verdict::Clear {
                    folder.remove(&entry.name).map_err(self.failed(Action::Remove))?;
                }
                folder.make_folder(&entry.name).map_err(self.failed(Action::MakeFolder))?;
                State::New
            }
        };
        if !self.decider.options.dry_run {
            self.decider.after.folder(self.path.as_slice().into(), self.attributes.clone());
        }
        Ok(made)
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
            self.attributes.owns(stat) && super::attributes::mtime(stat) == self.attributes.mtime
        });
        if same && owned {
            return Ok(Answer::Nothing);
        }
        if self.decider.options.dry_run {
            self.change(if same { Verdict::Same } else { verdict });
            return Ok(Answer::Nothing);
        }
        self.clear_empty(entry, verdict)?;
        let (folder, name) = (FolderPath::clone(&self.present.path), entry.name.as_slice().into());
        let (target, attributes) = (target.into(), self.attributes.clone());
        self.decider.after.link(folder, name, target, attributes);
        Ok(Answer::Nothing)
    }

    fn same(&mut self, entry: &Entry, first: u64, there: Option<&Stat>) -> Result<Answer, Failure> {
        if self.decider.options.dry_run {
            if there.is_none() {
                self.change(Verdict::Make);
            }
            return Ok(Answer::Nothing);
        }
        if there.is_some_and(is_folder) {
            self.clear_empty(entry, Verdict::Folder)?;
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
        if linked {
            let folder = FolderPath::clone(&self.present.path);
            self.decider.after.linked(self.number, folder, entry.name.as_slice().into());
        }
        if verdict == Verdict::Hash {
            let file = self.open_folder()?.open_file(&entry.name);
            let is = file.and_then(|file| hash_of(&file)).map_err(self.failed(Action::Read))?;
            verdict = if Some(is) == hash { Verdict::Same } else { Verdict::Replace };
        }
        if let (Verdict::Same, Some(stat)) = (verdict, there) {
            self.decided.files += 1;
            self.decided.bytes += size;
            self.attributes_only(entry, stat)?;
            return Ok(Answer::Nothing);
        }
        if self.decider.options.dry_run {
            self.decided.files += 1;
            self.decided.bytes += size;
            self.change(verdict);
            return Ok(Answer::Nothing);
        }
        let clears = self.clear_empty(entry, verdict)?;
        let difference = self.has_something(entry, size, there)?;
        let wanted = Wanted {
            folder: FolderPath::clone(&self.present.path),
            name: entry.name.as_slice().into(),
            attributes: self.attributes.clone(),
            replaces: verdict == Verdict::Replace || clears,
            clears,
            difference,
            weight: self.weight,
        };
        self.decided.wanted.push((self.number, wanted));
        Ok(if difference { Answer::Difference } else { Answer::Content })
    }

    /// Whether there is something of a large file: an older one, or what a broken attempt left.
    fn has_something(
        &self,
        entry: &Entry,
        size: u64,
        there: Option<&Stat>,
    ) -> Result<bool, Failure> {
        if size <= CHUNK as u64 || self.present.state != State::Old {
            return Ok(false);
        }
        let basis = there.is_some_and(|stat| {
            let size = u64::try_from(stat.st_size).unwrap_or_default();
            rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() && size >= MIN_BASIS
        });
        let folder = self.open_folder()?;
        Ok(basis || Partial::is_there(folder, &entry.name, self.decider.shared.owner))
    }

    /// A file that has its content already gets what else differs.
    fn attributes_only(&mut self, entry: &Entry, stat: &Stat) -> Result<(), Failure> {
        let as_should = self.attributes.are_of(stat) && self.attributes.xattrs.is_none();
        if as_should {
            return Ok(());
        }
        if self.decider.options.dry_run {
            if !self.attributes.are_of(stat) {
                self.change(Verdict::Same);
            }
            return Ok(());
        }
        let file = self.open_folder()?.open_file(&entry.name);
        let file = file.map_err(self.failed(Action::Open))?;
        self.touch()?;
        self.attributes.set(&file, &self.shown())
    }

    /// An empty folder in the way of something else goes at once. Whether one that is not empty will.
    fn clear_empty(&self, entry: &Entry, verdict: Verdict) -> Result<bool, Failure> {
        if verdict != Verdict::Folder {
            return Ok(false);
        }
        let folder = self.open_folder()?;
        if folder.remove_folder(&entry.name).is_ok() {
            return Ok(false);
        }
        if self.decider.options.delete {
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
        let kind = match verdict {
            Verdict::Same => ChangeKind::Touch,
            Verdict::Make => ChangeKind::Make,
            _ => ChangeKind::Change,
        };
        self.decided.changes.push(Change { path: self.path.clone(), kind });
    }

    fn shown(&self) -> Vec<u8> {
        self.decider.shared.shown(&self.path, b"")
    }

    fn failed(&self, action: Action) -> impl Fn(std::io::Error) -> Failure + use<> {
        failed(action, &self.shown())
    }

    fn failure(&self, action: Action, cause: Cause) -> Failure {
        Failure { action, path: Some(self.shown()), cause }
    }
}

fn is_folder(stat: &Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir()
}
