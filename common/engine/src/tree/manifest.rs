//! Compares the manifest, as it arrives, with what exists here, directory by directory: which entries are
//! wanted, and which names the source does not have. Runs on a separate thread, because it reads every
//! existing name.

use std::cmp::Ordering;
use std::sync::Arc;

use rustix::fs::FileType;

use super::avoid::Avoid;
use super::brought::{Brought, Place};
use super::compare::{Comparer, Comparing, OpenDirectory};
use super::decided::{BadManifest, Decided, DirectoryState};
use super::deferred::{Deferred, Directory};
use super::filter::Filter;
use super::order::{DirectoryPath, Order};
use super::shared::Shared;
use crate::confined::{Dir, Names, join};
use crate::error::failed;
use crate::file::temporary;
use crate::metadata::attributes::Attributes;
use crate::metadata::disk_times::DiskTimes;
use crate::metadata::translate::Translator;
use lariat_wire::memory::Memory;
use lariat_wire::protocol::failure::{Action, Failure};
use lariat_wire::protocol::metadata::Acls;
use lariat_wire::protocol::tree::{
    Answer, Answers, Change, ChangeKind, Entries, Entry, TreeOptions, What,
};

/// The manifest so far.
pub(super) struct Manifest {
    comparer: Comparer,
    filter: Filter,
    translator: Translator,
    order: Order<DirectoryState>,
    /// The current directory, once the first of its entries have arrived.
    current: Option<Current>,
    /// The root's attributes and state, until it was compared.
    root: Option<(Attributes, DirectoryState)>,
    /// The names of the pull's sources so far, if there are several.
    brought: Option<Brought>,
}

/// The directory whose entries arrive now.
struct Current {
    directory: OpenDirectory,
    /// Existing names that may have to be deleted, and how many of them were compared.
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
        state: DirectoryState,
        memory: &Memory,
    ) -> Self {
        let mut translator = Translator::new(options.preserve, shared.overrides.clone());
        let attributes = translator.attributes(root.metadata, false);
        let (times, deferred) = (DiskTimes::default(), Deferred::new(memory));
        let comparer = Comparer { shared, options, avoid, times, deferred };
        let (order, root) = (Order::new(state), Some((attributes, state)));
        Self { comparer, filter, translator, order, current: None, root, brought: None }
    }

    /// Passes over names that an earlier source has brought.
    pub(super) fn after(self, brought: Option<Brought>) -> Self {
        let mut root = self.root;
        if let (Some((attributes, _)), Some(brought)) = (&mut root, &brought)
            && brought.bring(b"", true) == Place::Shared
            && let Ok(stat) = self.comparer.shared.root.stat_self()
        {
            attributes.keep(&stat);
        }
        Self { root, brought, ..self }
    }

    /// Compares the root itself, which is reported first.
    fn root(&mut self, decided: &mut Decided) {
        let Some((attributes, state)) = self.root.take() else { return };
        let Comparer { shared, options, deferred, .. } = &mut self.comparer;
        let kind = match state {
            DirectoryState::Imagined | DirectoryState::New => Some(ChangeKind::Make),
            _ => {
                let same = shared.root.stat_self().is_ok_and(|stat| attributes.match_stat(&stat));
                (!same).then_some(ChangeKind::Touch)
            }
        };
        let change = kind.map(|kind| Change { path: shared.path.clone(), kind });
        decided.changes.extend(change.filter(|_| options.dry_run));
        if state != DirectoryState::Imagined {
            let touched = kind == Some(ChangeKind::Touch);
            deferred.directory(Directory { path: Arc::new([]), attributes, touched });
        }
        decided.done.others += u64::from(self.comparer.counts_now(kind));
    }

    /// Ends the manifest, and returns what is left to do.
    pub(super) fn end(self) -> Result<Deferred, BadManifest> {
        match self.order.directory() {
            None => Ok(self.comparer.deferred),
            Some(_) => Err(BadManifest::Wrong("its manifest ends too early")),
        }
    }

    /// Takes one message.
    pub(super) fn entries(&mut self, message: Entries) -> Result<Decided, BadManifest> {
        let mut decided = Decided::default();
        self.root(&mut decided);
        let mut current = match self.current.take() {
            Some(current) => current,
            None => self.enter()?,
        };
        let mut answers = Answers { first: 0, answers: Vec::with_capacity(message.entries.len()) };
        for entry in message.entries {
            let bad = |_| BadManifest::Wrong("its manifest has a name twice, or in no order");
            let number = self.order.entry(&entry.name).map_err(bad)?;
            if answers.first == 0 {
                answers.first = number;
            }
            self.extra(&mut current, Some(&entry.name));
            let answer = self.entry(&current.directory, number, entry, &mut decided)?;
            answers.answers.push(answer as u8);
            let names = current.names.bytes();
            if self.comparer.deferred.is_full(self.order.kept() + names) {
                return Err(BadManifest::TooMuch);
            }
        }
        if answers.first > 0 {
            decided.answers = Some(answers);
        }
        if message.last {
            self.extra(&mut current, None);
            self.order
                .last()
                .map_err(|_| BadManifest::Wrong("its manifest goes on after its end"))?;
        } else {
            self.current = Some(current);
        }
        Ok(decided)
    }

    fn enter(&mut self) -> Result<Current, BadManifest> {
        let end = BadManifest::Wrong("its manifest goes on after its end");
        let (path, &state) = self.order.directory().ok_or(end)?;
        let path = DirectoryPath::clone(path);
        let mut directory = OpenDirectory { path, state, directory: None };
        let mut names = Names::default();
        if matches!(state, DirectoryState::Old | DirectoryState::New) {
            match self.open(&directory.path, state) {
                Ok((open, existing)) => (directory.directory, names) = (Some(open), existing),
                Err(failure) => {
                    self.comparer.shared.miss(failure);
                    directory.state = DirectoryState::Lost;
                }
            }
        }
        Ok(Current { directory, names, seen: 0 })
    }

    fn open(&self, path: &[u8], state: DirectoryState) -> Result<(Dir, Names), Failure> {
        let Comparer { shared, options, .. } = &self.comparer;
        let shown = shared.shown(path, b"");
        let failed = |action| failed(action, &shown);
        let directory = if state == DirectoryState::Old && !options.dry_run {
            shared.enter_own(&shared.root, path).map(|(directory, _)| directory)
        } else {
            shared.root.enter(path)
        };
        let directory = directory.map_err(failed(Action::Open))?;
        let mut names = Names::default();
        if state == DirectoryState::Old && options.delete {
            names = directory.names().map_err(failed(Action::Read))?;
            names.sort();
        }
        Ok((directory, names))
    }

    /// Defers the removal of existing names before `until`, which the source does not have.
    fn extra(&mut self, current: &mut Current, until: Option<&[u8]>) {
        let OpenDirectory { path: parent, directory: Some(directory), .. } = &current.directory
        else {
            return;
        };
        while let Some(name) = current.names.get(current.seen) {
            match until.map(|until| name.cmp(until)) {
                Some(Ordering::Greater) => return,
                Some(Ordering::Equal) => {
                    current.seen += 1;
                    return;
                }
                Some(Ordering::Less) | None => current.seen += 1,
            }
            let path = join(parent, name);
            let is_directory = match directory.stat(name) {
                Ok(Some(stat)) => FileType::from_raw_mode(stat.st_mode).is_dir(),
                _ => continue,
            };
            if temporary::is_temporary(name, is_directory)
                || self.comparer.shared.spares(&self.filter, &path, name, is_directory)
            {
                continue;
            }
            self.comparer.deferred.extra(DirectoryPath::clone(parent), name.into());
        }
    }

    fn entry(
        &mut self,
        directory: &OpenDirectory,
        number: u64,
        mut entry: Entry,
        decided: &mut Decided,
    ) -> Result<Answer, BadManifest> {
        let weight = entry.weight();
        let path = join(&directory.path, &entry.name);
        if self.filter.excludes(&path, entry.what == What::Directory) {
            return Err(BadManifest::Wrong("it sent a name that is excluded"));
        }
        let is_directory = entry.what == What::Directory;
        let place = self.brought.as_ref().map(|brought| brought.bring(&path, is_directory));
        if place == Some(Place::Taken) {
            if is_directory {
                self.order.descend(DirectoryState::Lost);
            }
            decided.taken.push(path);
            decided.weight += weight;
            return Ok(Answer::Nothing);
        }
        let is_file = matches!(entry.what, What::File { .. });
        let metadata = std::mem::take(&mut entry.metadata);
        let acl_reported = metadata.acls == Acls::Dropped;
        if acl_reported {
            decided.without_acl.push(path.clone());
        }
        let attributes = self.translator.attributes(metadata, is_file);
        let mut state = directory.state;
        let comparer = &mut self.comparer;
        let mut comparing = Comparing {
            comparer,
            directory,
            number,
            path,
            attributes,
            weight,
            acl_reported,
            is_shared: place == Some(Place::Shared),
            decided,
        };
        let answer = match comparing.answer(&entry, &mut state) {
            Ok(answer) => answer,
            Err(failure) => {
                state = DirectoryState::Lost;
                self.comparer.shared.miss(failure);
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
