//! A file or a directory that comes from a host.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lariat_base::name::KeyId;
use lariat_base::name::TransferId;
use lariat_client::Session;
use lariat_engine::destination::Place;
use lariat_engine::tree::{
    Counts, FileDryRun, Filter, TreeArrival, TreeTarget, dry_run_file, receive_tree,
};
use lariat_engine::{
    Busy, Cancel, CommitOptions, Opened, Owner, ResolvedOverrides, Stream, Target, TransferError,
    Transferred, receive,
};
use lariat_wire::link::LinkError;
use lariat_wire::protocol::Message;
use lariat_wire::protocol::failure::{Cause, Failure, FileKind};
use lariat_wire::protocol::metadata::Acls;
use lariat_wire::protocol::pull::Pull;
use lariat_wire::protocol::transfer::{Destination, Offer};
use lariat_wire::protocol::tree::{Entry, Root, Settled, TreeOptions, What};

use super::STDOUT;
use crate::error::CliError;
use crate::transfer::{
    Avoided, Bar, Broken, Item, Listing, Moved, Remarks, TransferOptions, TreeBar, broken,
    file_destination, glob_hint, is_contents, tree_destination,
};

/// What writing says to a pipe that nobody reads.
const BROKEN_PIPE: i32 = rustix::io::Errno::PIPE.raw_os_error();

/// How the files of a host are fetched.
pub(super) struct Way<'a> {
    pub(super) key: KeyId,
    /// With whose rights there, if not the agent's own.
    pub(super) user: Option<&'a str>,
    pub(super) options: &'a TransferOptions,
    pub(super) finish: &'a ResolvedOverrides,
    /// The paths of a directory that are moved, if not all.
    pub(super) only: &'a [Vec<u8>],
    pub(super) listing: &'a Listing,
}

/// Where a source goes, which may turn out to be either.
struct Dest {
    file: Destination,
    tree: Destination,
}

/// A file or a directory that comes here.
pub(super) struct Pulled<'a> {
    request: Pull,
    /// Where to, if not to stdout.
    dest: Option<Dest>,
    owner: Owner,
    options: &'a TransferOptions,
    finish: &'a ResolvedOverrides,
    filter: Filter,
    avoided: Avoided,
    /// What is being done, as errors begin.
    what: String,
    listing: Listing,
    remarks: Remarks,
}

impl<'a> Pulled<'a> {
    pub(super) fn new(
        source: &[u8],
        dest: Option<&[u8]>,
        way: &Way<'a>,
        what: &str,
    ) -> Result<Self, CliError> {
        // The name comes from what was asked for, never from the host.
        let named = |path: &[u8]| -> Result<_, CliError> {
            let tree = tree_destination(source, path, !way.only.is_empty())?;
            // What means a directory's contents is no file.
            let file =
                if is_contents(source) { Ok(tree.clone()) } else { file_destination(source, path) };
            Ok(Dest { file: file?, tree })
        };
        let dest = dest.map(named).transpose()?;
        // Only a file can go to stdout.
        let options = TreeOptions { only: way.only.to_vec(), ..way.options.tree() };
        let filter = Filter::new(&options.rules, &options.only)?;
        let tree = dest.is_some().then_some(options);
        let source = if source.is_empty() { b".".as_slice() } else { source };
        let sending = way.options.sending();
        let there = way.user.map(ToOwned::to_owned);
        let here = rustix::process::geteuid().as_raw();
        Ok(Self {
            request: Pull {
                transfer: TransferId::generate()?,
                source: source.to_vec(),
                sending,
                tree,
                user: there,
            },
            dest,
            owner: Owner { key: way.key, user: here },
            options: way.options,
            finish: way.finish,
            filter,
            avoided: Avoided::default(),
            what: what.to_owned(),
            listing: way.listing.clone(),
            remarks: Remarks::default(),
        })
    }

    /// Whether the rules leave the source out, if it is a file. Nothing is left out of stdout.
    fn is_left_out(&self) -> bool {
        let source = Path::new(OsStr::from_bytes(&self.request.source));
        self.dest.is_some() && self.filter.excludes_file(source)
    }

    /// What receives a file.
    fn target(&self, offer: &Offer) -> Result<Target, Failure> {
        let Some(dest) = &self.dest else {
            return Ok(Target::Stream(
                Stream::new(std::io::stdout()).map_err(|e| stdout_failed(&e))?,
            ));
        };
        let place = Place::resolve(Path::new(""), &dest.file)?;
        let opened = Opened::open(place, self.owner, offer, Busy::Refuse, self.finish.in_place)?;
        Ok(Target::File(Box::new(opened)))
    }

    async fn file(
        &mut self,
        session: &mut Session,
        offer: &Offer,
        bar: &Bar,
        moved: &mut Moved,
    ) -> Result<(), Broken> {
        self.options.check_for_file().map_err(Broken::Misused)?;
        let target = self.target(offer).map_err(Broken::Here)?;
        let metadata = offer.metadata.clone();
        let placing = CommitOptions::new(self.finish, self.options.preserve(), metadata);
        let (never, mut received) = (Cancel::default(), Transferred::default());
        let link = &mut session.link;
        let done = receive(link, target, offer, &placing, bar, &never, &mut received).await;
        *moved = received.into();
        if offer.metadata.acls == Acls::Dropped && self.dest.is_some() {
            self.remarks.acl_dropped(&self.what, b"");
        }
        match done {
            Err(TransferError::Local(failure))
                if self.dest.is_none() && failure.cause == Cause::Os(BROKEN_PIPE) =>
            {
                Err(Broken::NoReader)
            }
            done => done.map(drop).map_err(ended),
        }
    }

    /// What would become of a file here.
    async fn look(
        &mut self,
        session: &mut Session,
        root: Entry,
        bar: &Bar,
        moved: &mut Moved,
    ) -> Result<(), Broken> {
        self.options.check_for_file().map_err(Broken::Misused)?;
        let none = || Broken::Here(Failure::request(Cause::Internal));
        let dest = self.dest.as_ref().ok_or_else(none)?.file.clone();
        let (base, options, overrides) = (PathBuf::new(), self.options.tree(), self.finish.clone());
        let watch = TreeBar::new(bar, &self.what, &self.listing);
        let settled = dry_run_file(
            &mut session.link,
            FileDryRun { base, dest, root, options, overrides },
            &watch,
        );
        moved.settled(&settled.await.map_err(ended)?);
        Ok(())
    }

    async fn tree(
        &mut self,
        session: &mut Session,
        root: Entry,
        bar: &Bar,
        moved: &mut Moved,
    ) -> Result<(), Broken> {
        let arrival = self.arrival(root).map_err(Broken::Here)?;
        let watch = TreeBar::new(bar, &self.what, &self.listing).knowing(&self.avoided.there);
        let (never, mut counts) = (Cancel::default(), Counts::default());
        let done = receive_tree(&mut session.link, arrival, &watch, &never, &mut counts).await;
        *moved = (&counts).into();
        self.remarks = watch.into_remarks();
        match done {
            Ok(settled) => {
                moved.settled(&settled);
                Ok(())
            }
            Err(TransferError::Local(failure)) if counts.aborted_by.is_none() => {
                Err(Broken::Here(failure))
            }
            Err(error) => Err(broken(error, counts, &mut self.avoided)),
        }
    }

    fn arrival(&self, root: Entry) -> Result<TreeArrival, Failure> {
        let none = || Failure::request(Cause::NotAFile(FileKind::Directory));
        let dest = self.dest.as_ref().ok_or_else(none)?;
        let options = self.request.tree.clone().unwrap_or_default();
        let open = if options.dry_run { TreeTarget::open_dry_run } else { TreeTarget::open };
        let mut target = open(Path::new(""), &dest.tree, self.owner)?;
        if let Some(home) = std::env::home_dir() {
            target.check_delete(&home, &options)?;
        }
        target.lock()?;
        let (filter, overrides, avoid) =
            (self.filter.clone(), self.finish.clone(), self.avoided.files.clone());
        Ok(TreeArrival { target, root, options, filter, overrides, avoid })
    }
}

impl Item for Pulled<'_> {
    type Request = Pull;

    fn request(&self) -> &Pull {
        &self.request
    }

    fn name(&self) -> &[u8] {
        if self.dest.is_some() { &self.request.source } else { STDOUT }
    }

    async fn attempt(
        &mut self,
        session: &mut Session,
        bar: &Bar,
        moved: &mut Moved,
    ) -> Result<(), Broken> {
        let answer = expect_answer(session, &self.request).await?;
        if !matches!(answer, Answer::Tree(_)) && self.is_left_out() != (answer == Answer::LeftOut) {
            return Err(misbehaved("it takes other files for left out than the rules do"));
        }
        match answer {
            Answer::LeftOut => Ok(()),
            Answer::File(offer) => self.file(session, &offer, bar, moved).await,
            Answer::Look(root) => self.look(session, root, bar, moved).await,
            Answer::Tree(root) => self.tree(session, root, bar, moved).await,
        }
    }

    fn explained(&self, error: CliError) -> CliError {
        glob_hint(&self.request.source, error, true)
    }

    /// What went to stdout can't be taken back, nor begun again.
    fn can_go_on(&self, moved: &Moved) -> bool {
        self.dest.is_some() || moved.is_nothing()
    }

    fn can_be_left(&self) -> bool {
        self.dest.is_some()
    }

    fn remarks(&mut self) -> Remarks {
        std::mem::take(&mut self.remarks)
    }
}

/// What ended the coming of one file: this end itself, or the way here.
fn ended(error: TransferError) -> Broken {
    match error {
        TransferError::Local(failure) => Broken::Here(failure),
        error => Broken::Transfer(error),
    }
}

fn stdout_failed(error: &std::io::Error) -> Failure {
    Failure::request(error.raw_os_error().map_or(Cause::Internal, Cause::Os))
}

/// What there is.
#[derive(PartialEq, Eq)]
enum Answer {
    File(Offer),
    /// A file, of a dry run.
    Look(Entry),
    /// A file that the rules leave out.
    LeftOut,
    Tree(Entry),
}

/// The agent's answer: the file or directory as it is there, or why there is none.
async fn expect_answer(session: &mut Session, request: &Pull) -> Result<Answer, Broken> {
    let link = &mut session.link;
    let dry_run = request.tree.as_ref().is_some_and(|options| options.dry_run);
    let answer = async {
        let frame = link.next().await?.ok_or(LinkError::Cut)?;
        match frame.kind {
            Offer::KIND if !dry_run => {
                let offer: Offer = link.reader.message()?;
                let bad = |_| LinkError::Misbehaved("it offers a file that can't be");
                offer.check().map_err(bad)?;
                Ok(Ok(Answer::File(offer)))
            }
            Root::KIND => {
                let Root { entry } = link.reader.message()?;
                let bad = |_| LinkError::Misbehaved("it offers a directory that can't be");
                entry.check_root(dry_run).map_err(bad)?;
                let is_file = entry.what != What::Directory;
                Ok(Ok(if is_file { Answer::Look(entry) } else { Answer::Tree(entry) }))
            }
            Settled::KIND => Ok(Ok(Answer::LeftOut)),
            Failure::KIND => Ok(Err(link.reader.message()?)),
            other => Err(LinkError::Unexpected(other)),
        }
    };
    answer.await.map_err(|e| Broken::Transfer(e.into()))?.map_err(Broken::refused)
}

fn misbehaved(what: &'static str) -> Broken {
    Broken::Transfer(LinkError::Misbehaved(what).into())
}
