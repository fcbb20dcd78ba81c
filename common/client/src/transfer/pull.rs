//! A file or a directory that is fetched from a host.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use lariat_base::name::{KeyId, TransferId};
use lariat_engine::confined::Base;
use lariat_engine::destination::Place;
use lariat_engine::tree::{
    BadGlob, Brought, Counts, FileDryRun, Filter, TreeArrival, TreeTarget, Watch, receive_dry_run,
    receive_tree,
};
use lariat_engine::{
    Busy, Cancel, CommitOptions, Opened, Owner, Progress, ReceiveLanes, ResolvedOverrides, Stream,
    Target, TransferError, Transferred, receive,
};
use lariat_wire::link::LinkError;
use lariat_wire::protocol::Message;
use lariat_wire::protocol::failure::{Cause, Failure, FileKind};
use lariat_wire::protocol::metadata::Acls;
use lariat_wire::protocol::pull::Pull;
use lariat_wire::protocol::transfer::{Destination, Offer, Sending};
use lariat_wire::protocol::tree::{Entry, Root, Settled, TreeOptions};

use super::destination::{BadDestination, file_destination, is_contents, tree_destination};
use super::error::AttemptError;
use super::lanes::{Ends, LanePool, Streams};
use super::moved::{Counting, Moved};
use super::observed::{Observed, ObservedTree};
use super::tree_push::Avoided;
use crate::connect::Session;
use crate::host::HostHandle;

/// The errno of a write to a pipe without a reader.
const BROKEN_PIPE: i32 = rustix::io::Errno::PIPE.raw_os_error();

/// How files are fetched.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// The user with whose rights the host reads, if not the agent's own.
    pub user: Option<String>,
    /// The sender's options.
    pub sending: Sending,
    /// The options of a directory's transfer.
    pub tree: TreeOptions,
    /// Whether a directory is refused.
    pub file_only: bool,
    /// What the operator sets on received files.
    pub overrides: ResolvedOverrides,
    /// The names of the sources so far, if several go to one destination.
    pub brought: Option<Brought>,
}

/// The destination of a source, which may be a file or a directory.
struct Dest {
    file: Destination,
    tree: Destination,
}

/// A file or a directory that is fetched from a host.
pub struct Fetch {
    request: Pull,
    /// The destination; `None` for stdout.
    dest: Option<Dest>,
    owner: Owner,
    options: FetchOptions,
    filter: Filter,
    avoided: Avoided,
    acl_dropped: bool,
    lanes: Option<LanePool>,
}

/// Why a request can't be made.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The source's name can't be given to its copy.
    #[error(transparent)]
    Destination(#[from] BadDestination),
    /// A rule is not a glob.
    #[error(transparent)]
    Filter(#[from] BadGlob),
    /// The system gives no random bytes.
    #[error(transparent)]
    Randomness(#[from] lariat_base::secret::NoRandomness),
}

impl Fetch {
    /// Fetches `source` to `dest`, or a file to stdout. `key` is the requesting key, whose partial is used.
    pub fn new(
        source: &[u8],
        dest: Option<&[u8]>,
        key: KeyId,
        options: FetchOptions,
    ) -> Result<Self, FetchError> {
        // The name comes from the request, never from the host.
        let named = |path: &[u8]| -> Result<_, BadDestination> {
            let tree = tree_destination(source, path, !options.tree.only.is_empty())?;
            // A path that means a directory's contents is not a file.
            let file =
                if is_contents(source) { Ok(tree.clone()) } else { file_destination(source, path) };
            Ok(Dest { file: file?, tree })
        };
        let dest = dest.map(named).transpose()?;
        let filter = Filter::new(&options.tree.rules, &options.tree.only)?;
        // Only a file can go to stdout.
        let has_tree = dest.is_some() && !options.file_only;
        let tree = has_tree.then(|| options.tree.clone());
        let source = if source.is_empty() { b".".as_slice() } else { source };
        let request = Pull {
            transfer: TransferId::generate()?,
            source: source.to_vec(),
            sending: options.sending,
            tree,
            user: options.user.clone(),
        };
        Ok(Self {
            request,
            dest,
            owner: Owner { key, user: rustix::process::geteuid().as_raw() },
            filter,
            options,
            avoided: Avoided::default(),
            acl_dropped: false,
            lanes: None,
        })
    }

    /// Uses this many connections. A file to stdout uses one.
    #[must_use]
    pub fn over(mut self, streams: Streams, host: &HostHandle) -> Self {
        if !self.is_stream() {
            let ends = Ends::Receives(ReceiveLanes::default());
            self.lanes = LanePool::new(host, streams, self.request.transfer, ends);
        }
        self
    }

    /// The request to the agent.
    pub fn request(&self) -> &Pull {
        &self.request
    }

    /// Whether the file goes to stdout.
    pub fn is_stream(&self) -> bool {
        self.dest.is_none()
    }

    /// Whether the file has an ACL that is not transferred.
    pub fn has_dropped_acl(&self) -> bool {
        self.acl_dropped
    }

    /// Files of a directory that are not tried again.
    pub fn avoided(&self) -> &Avoided {
        &self.avoided
    }

    /// One attempt: see [`Transfer::attempt`](super::Transfer::attempt). `progress` is that of a file, `watch`
    /// that of a directory or a dry run.
    pub async fn attempt(
        &mut self,
        session: &mut Session,
        progress: &dyn Progress,
        watch: &dyn Watch,
        moved: &mut Moved,
    ) -> Result<(), AttemptError> {
        let answer = expect_answer(session).await?;
        if !matches!(answer, Answer::Tree(_)) && self.is_left_out() != (answer == Answer::LeftOut) {
            return Err(misbehaved("it takes other files for left out than the rules do"));
        }
        if matches!(answer, Answer::File(_)) && !self.options.tree.only.is_empty() {
            return Err(AttemptError::NotADirectory);
        }
        if let (Answer::File(_), Some(brought)) = (&answer, &self.options.brought) {
            // A later source's file of this name is passed over.
            brought.bring(b"", false);
        }
        match answer {
            Answer::LeftOut => Ok(()),
            Answer::File(offer) if self.is_dry_run() => {
                self.look(session, offer, watch, moved).await
            }
            Answer::File(offer) => self.file(session, &offer, progress, moved).await,
            Answer::Tree(root) => self.tree(session, root, watch, moved).await,
        }
    }

    /// Whether the rules exclude the source, if it is a file. A file to stdout is never excluded.
    fn is_left_out(&self) -> bool {
        let source = Path::new(OsStr::from_bytes(&self.request.source));
        self.dest.is_some() && self.filter.excludes_file(source)
    }

    fn is_dry_run(&self) -> bool {
        self.request.tree.as_ref().is_some_and(|options| options.dry_run)
    }

    /// The receiver's target for a file.
    fn target(&self, offer: &Offer) -> Result<Target, Failure> {
        let Some(dest) = &self.dest else {
            let stdout = Stream::new(std::io::stdout()).map_err(|e| stdout_failed(&e))?;
            return Ok(Target::Stream(stdout));
        };
        let place = Place::resolve(&Base::at(Path::new("")), &dest.file)?;
        let in_place = self.options.overrides.in_place;
        let opened = Opened::open(place, self.owner, offer, Busy::Refuse, in_place)?;
        Ok(Target::File(Box::new(opened)))
    }

    async fn file(
        &mut self,
        session: &mut Session,
        offer: &Offer,
        progress: &dyn Progress,
        moved: &mut Moved,
    ) -> Result<(), AttemptError> {
        let target = self.target(offer).map_err(AttemptError::Here)?;
        let FetchOptions { tree, overrides, .. } = &self.options;
        let placing = CommitOptions::new(overrides, tree.preserve, offer.metadata.clone());
        let (never, observed) = (Cancel::default(), Observed::new(progress));
        let as_moved = |received: &Transferred| Moved { had: observed.had(), ..(*received).into() };
        let mut counting = Counting::new(moved, as_moved);
        LanePool::begin(&mut self.lanes, session);
        let (link, lanes) = (&mut session.link, &mut self.lanes);
        let target = match lanes.as_ref().map(LanePool::ends) {
            Some(Ends::Receives(lanes)) => lanes.bring(target),
            _ => target.into(),
        };
        // With a rate limit, more connections would gain nothing.
        let may_grow = self.options.sending.rate.is_none();
        let done = tokio::select! {
            biased;
            done = receive(link, target, offer, &placing, &observed, &never, &mut counting.counts) => done,
            never = LanePool::manage(lanes, || observed.left(), may_grow) => match never {},
        };
        drop(counting);
        LanePool::tell(lanes, moved);
        if done.is_ok() {
            LanePool::close(lanes).await;
        }
        self.acl_dropped = offer.metadata.acls == Acls::Dropped && self.dest.is_some();
        match done {
            Err(TransferError::Local(failure))
                if self.dest.is_none() && failure.cause == Cause::Os(BROKEN_PIPE) =>
            {
                Err(AttemptError::NoReader)
            }
            done => done.map_err(AttemptError::arriving),
        }
    }

    /// Determines what would happen to a file here.
    async fn look(
        &mut self,
        session: &mut Session,
        offer: Offer,
        watch: &dyn Watch,
        moved: &mut Moved,
    ) -> Result<(), AttemptError> {
        let none = || AttemptError::Here(Failure::request(Cause::Internal));
        let dest = self.dest.as_ref().ok_or_else(none)?.file.clone();
        self.acl_dropped = offer.metadata.acls == Acls::Dropped;
        let FetchOptions { tree, overrides, .. } = &self.options;
        let (base, preserve) = (Base::at(Path::new("")), tree.preserve);
        let overrides = overrides.clone();
        let file = FileDryRun { base, dest, offer, preserve, overrides };
        let done = receive_dry_run(&mut session.link, file, watch).await;
        *moved = done.map_err(AttemptError::arriving)?.into();
        Ok(())
    }

    async fn tree(
        &mut self,
        session: &mut Session,
        root: Entry,
        watch: &dyn Watch,
        moved: &mut Moved,
    ) -> Result<(), AttemptError> {
        let arrival = self.arrival(root).map_err(AttemptError::Here)?;
        let arrival = match self.lanes.as_ref().map(LanePool::ends) {
            Some(Ends::Receives(lanes)) => lanes.bring_tree(arrival),
            _ => arrival,
        };
        LanePool::begin(&mut self.lanes, session);
        let (never, observed) = (Cancel::default(), ObservedTree::new(watch));
        let mut counting = Counting::new(moved, |counts: &Counts| counts.into());
        let (link, lanes, counts) = (&mut session.link, &mut self.lanes, &mut counting.counts);
        let may_grow = self.options.sending.rate.is_none();
        let done = tokio::select! {
            biased;
            done = receive_tree(link, arrival, &observed, &never, counts) => done,
            never = LanePool::manage(lanes, || observed.left(), may_grow) => match never {},
        };
        let counts = counting.counts.clone();
        drop(counting);
        LanePool::tell(lanes, moved);
        if done.is_ok() {
            LanePool::close(lanes).await;
        }
        match done {
            Ok(settled) => {
                moved.settled(&settled);
                Ok(())
            }
            Err(TransferError::Local(failure)) if counts.aborted_by.is_none() => {
                Err(AttemptError::Here(failure))
            }
            Err(error) => Err(self.avoided.classify(error, counts)),
        }
    }

    fn arrival(&self, root: Entry) -> Result<TreeArrival, Failure> {
        let none = || Failure::request(Cause::NotAFile(FileKind::Directory));
        let dest = self.dest.as_ref().filter(|_| !self.options.file_only).ok_or_else(none)?;
        let options = self.options.tree.clone();
        let open = if options.dry_run { TreeTarget::open_dry_run } else { TreeTarget::open };
        let mut target = open(&Base::at(Path::new("")), &dest.tree, self.owner)?;
        if let Some(home) = std::env::home_dir() {
            target.check_delete(&home, &options)?;
        }
        target.lock()?;
        let (filter, overrides) = (self.filter.clone(), self.options.overrides.clone());
        let avoid = self.avoided.files.clone();
        let arrival = TreeArrival::new(target, root, options, filter, overrides, avoid);
        Ok(arrival.after(self.options.brought.clone()))
    }

    /// Whether another attempt can follow one that broke after this much: output to stdout can't be repeated.
    pub fn can_go_on(&self, moved: &Moved) -> bool {
        self.dest.is_some() || moved.is_nothing()
    }
}

fn stdout_failed(error: &std::io::Error) -> Failure {
    Failure::request(error.raw_os_error().map_or(Cause::Internal, Cause::Os))
}

/// The agent's answer.
#[derive(PartialEq, Eq)]
enum Answer {
    File(Offer),
    /// A file that the rules exclude.
    LeftOut,
    Tree(Entry),
}

/// Reads the agent's answer: the file or directory, or why there is none.
async fn expect_answer(session: &mut Session) -> Result<Answer, AttemptError> {
    let link = &mut session.link;
    let answer = async {
        let frame = link.next().await?.ok_or(LinkError::Cut)?;
        match frame.kind {
            Offer::KIND => {
                let offer: Offer = link.reader.message()?;
                let bad = |_| LinkError::Misbehaved("it offers a file that can't be");
                offer.check().map_err(bad)?;
                Ok(Ok(Answer::File(offer)))
            }
            Root::KIND => {
                let Root { entry } = link.reader.message()?;
                let bad = |_| LinkError::Misbehaved("it offers a directory that can't be");
                entry.check_root().map_err(bad)?;
                Ok(Ok(Answer::Tree(entry)))
            }
            Settled::KIND => Ok(Ok(Answer::LeftOut)),
            Failure::KIND => Ok(Err(link.reader.message()?)),
            other => Err(LinkError::Unexpected(other)),
        }
    };
    answer
        .await
        .map_err(|e: LinkError| AttemptError::Transfer(e.into()))?
        .map_err(AttemptError::refused)
}

fn misbehaved(what: &'static str) -> AttemptError {
    AttemptError::Transfer(LinkError::Misbehaved(what).into())
}
