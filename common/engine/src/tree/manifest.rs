//! Goes through the manifest as it comes, directory by directory: which are there, and what is in them that
//! the source does not have. On a thread beside the network, for it looks at every name that is there.

use std::sync::Arc;

use rustix::fs::FileType;

use super::compare::Comparing;
use super::filter::Filter;
use super::finish::After;
use super::order::{DirectoryPath, Order};
use super::read::Avoid;
use super::shared::{Shared, Wanted};
use crate::attributes::{Attributes, Translator};
use crate::confined::{Dir, Names, join};
use crate::disk_times::DiskTimes;
use crate::error::failed;
use crate::temporary;
use lariat_wire::memory::Memory;
use lariat_wire::protocol::failure::{Action, Failure, FileKind};
use lariat_wire::protocol::metadata::Acls;
use lariat_wire::protocol::tree::{
    Answer, Answers, Change, ChangeKind, Changed, Entries, Entry, TreeOptions, What,
};

/// What follows from one message of entries.
#[derive(Default)]
pub(super) struct Decided {
    pub(super) answers: Option<Answers>,
    pub(super) wanted: Vec<(u64, Wanted)>,
    /// Of entries that are settled by the answer.
    pub(super) weight: usize,
    pub(super) changes: Vec<Change>,
    pub(super) skipped: Vec<(Vec<u8>, FileKind)>,
    /// Names whose ACLs do not travel.
    pub(super) without_acl: Vec<Vec<u8>>,
    /// Files that are as they should be, or would be, and their bytes.
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// What was changed at once, or would be.
    pub(super) done: Changed,
}

/// What is known of a directory whose entries come later.
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

/// A manifest that is not gone through to its end.
#[derive(Debug)]
pub(super) enum BadManifest {
    /// It can't be.
    Wrong(&'static str),
    /// It has more directories and links than are kept.
    TooMuch,
}

pub(super) struct Manifest {
    pub(super) shared: Arc<Shared>,
    pub(super) options: TreeOptions,
    filter: Filter,
    pub(super) avoid: Avoid,
    translator: Translator,
    pub(super) times: DiskTimes,
    order: Order<State>,
    /// The present directory, once the first of its entries have come.
    present: Option<Present>,
    pub(super) after: After,
    /// The root's attributes and state, until it was looked at.
    root: Option<(Attributes, State)>,
}

/// The present directory as it is here.
pub(super) struct Present {
    pub(super) path: DirectoryPath,
    pub(super) state: State,
    pub(super) directory: Option<Dir>,
    /// Names that are there and may have to go, and how many of them have been looked at.
    names: Names,
    seen: usize,
}

impl Manifest {
    pub(super) fn new(
        shared: Arc<Shared>,
        options: TreeOptions,
        filter: Filter,
        avoid: Avoid,
        root: Entry,
        state: State,
        memory: &Memory,
    ) -> Self {
        let mut translator = Translator::new(options.preserve, shared.finish.clone());
        let attributes = translator.attributes(root.metadata, false);
        let (order, times) = (Order::new(state), DiskTimes::default());
        let after = After::new(memory);
        let (present, root) = (None, Some((attributes, state)));
        Self { shared, options, filter, avoid, translator, times, order, present, after, root }
    }

    /// The root itself: what becomes of it is told first.
    fn root(&mut self, decided: &mut Decided) {
        let Some((attributes, state)) = self.root.take() else { return };
        let kind = match state {
            State::Imagined | State::New => Some(ChangeKind::Make),
            _ => {
                let same = self.shared.root.stat_self().is_ok_and(|stat| attributes.are_of(&stat));
                (!same).then_some(ChangeKind::Touch)
            }
        };
        let change = kind.map(|kind| Change { path: self.shared.path.clone(), kind });
        if state != State::Imagined {
            self.after.directory(Arc::new([]), attributes, kind == Some(ChangeKind::Touch));
        }
        decided.done.others += u64::from(self.counts_now(kind));
        decided.changes.extend(change.filter(|_| self.options.dry_run));
    }

    /// Whether a directory's change is counted when it is decided, and not when it is done.
    pub(super) fn counts_now(&self, kind: Option<ChangeKind>) -> bool {
        match kind {
            None => false,
            Some(ChangeKind::Touch) => self.options.dry_run,
            Some(_) => true,
        }
    }

    /// Nothing more comes: gives what is left to do.
    pub(super) fn end(self) -> Result<After, BadManifest> {
        match self.order.directory() {
            None => Ok(self.after),
            Some(_) => Err(BadManifest::Wrong("its manifest ends too early")),
        }
    }

    /// Takes one message.
    pub(super) fn entries(&mut self, message: Entries) -> Result<Decided, BadManifest> {
        let mut decided = Decided::default();
        self.root(&mut decided);
        let mut present = match self.present.take() {
            Some(present) => present,
            None => self.enter()?,
        };
        let mut answers = Answers { first: 0, answers: Vec::with_capacity(message.entries.len()) };
        for entry in message.entries {
            let bad = |_| BadManifest::Wrong("its manifest has a name twice, or in no order");
            let number = self.order.entry(&entry.name).map_err(bad)?;
            if answers.first == 0 {
                answers.first = number;
            }
            self.extra(&mut present, Some(&entry.name));
            let answer = self.entry(&present, number, entry, &mut decided)?;
            answers.answers.push(answer as u8);
            let names = present.names.bytes();
            if self.after.is_full(self.order.kept() + names) {
                return Err(BadManifest::TooMuch);
            }
        }
        if answers.first > 0 {
            decided.answers = Some(answers);
        }
        if message.last {
            self.extra(&mut present, None);
            self.order
                .last()
                .map_err(|_| BadManifest::Wrong("its manifest goes on after its end"))?;
        } else {
            self.present = Some(present);
        }
        Ok(decided)
    }

    fn enter(&mut self) -> Result<Present, BadManifest> {
        let end = BadManifest::Wrong("its manifest goes on after its end");
        let (path, &state) = self.order.directory().ok_or(end)?;
        let path = DirectoryPath::clone(path);
        let mut present =
            Present { path, state, directory: None, names: Names::default(), seen: 0 };
        if matches!(state, State::Old | State::New) {
            match self.open(&present.path, state) {
                Ok((directory, names)) => {
                    (present.directory, present.names) = (Some(directory), names)
                }
                Err(failure) => {
                    self.shared.miss(failure);
                    present.state = State::Lost;
                }
            }
        }
        Ok(present)
    }

    fn open(&self, path: &[u8], state: State) -> Result<(Dir, Names), Failure> {
        let failed = |action| failed(action, &self.shared.shown(path, b""));
        let directory = if state == State::Old && !self.options.dry_run {
            self.shared.enter_own(&self.shared.root, path).map(|(directory, _)| directory)
        } else {
            self.shared.root.enter(path)
        };
        let directory = directory.map_err(failed(Action::Open))?;
        let mut names = Names::default();
        if state == State::Old && self.options.delete {
            names = directory.names().map_err(failed(Action::Read))?;
            names.sort();
        }
        Ok((directory, names))
    }

    /// Looks at the names here that come before `until`: the source does not have them.
    fn extra(&mut self, present: &mut Present, until: Option<&[u8]>) {
        let Some(directory) = &present.directory else { return };
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
            let is_directory = match directory.stat(name) {
                Ok(Some(stat)) => FileType::from_raw_mode(stat.st_mode).is_dir(),
                _ => continue,
            };
            if temporary::is_temporary(name, is_directory)
                || self.shared.spares(&self.filter, &path, name, is_directory)
            {
                continue;
            }
            self.after.extra(DirectoryPath::clone(&present.path), name.into());
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
        if self.filter.excludes(&path, entry.what == What::Directory) {
            return Err(BadManifest::Wrong("it sent a name that is excluded"));
        }
        let is_file = matches!(entry.what, What::File { .. });
        let metadata = std::mem::take(&mut entry.metadata);
        if metadata.acls == Acls::Dropped {
            decided.without_acl.push(path.clone());
        }
        let attributes = self.translator.attributes(metadata, is_file);
        let mut state = present.state;
        let mut deciding =
            Comparing { decider: self, present, number, path, attributes, weight, decided };
        let answer = match deciding.answer(&entry, &mut state) {
            Ok(answer) => answer,
            Err(failure) => {
                state = State::Lost;
                self.shared.miss(failure);
                Answer::Nothing
            }
        };
        if entry.what == What::Directory {
            self.order.descend(state);
        }
        if answer == Answer::Nothing {
            decided.weight += weight;
        }
        Ok(answer)
    }
}
