//! A file or a directory that comes from a host.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lariat_base::name::{KeyId, TransferId};
use lariat_engine::destination::Place;
use lariat_engine::tree::{
    BadGlob, Counts, FileDryRun, Filter, TreeArrival, TreeTarget, Watch, receive_dry_run,
    receive_tree,
};
use lariat_engine::{
    Busy, Cancel, CommitOptions, Opened, Owner, Progress, ReceiveLanes, Receiving,
    ResolvedOverrides, Stream, Target, TransferError, Transferred, receive,
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
use super::moved::Moved;
use super::observed::Observed;
use super::tree_push::Avoided;
use crate::connect::Session;
use crate::host::HostHandle;

/// What writing to a pipe without a reader fails with.
const BROKEN_PIPE: i32 = rustix::io::Errno::PIPE.raw_os_error();

/// How files are fetched.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// With whose rights on the host, if not the agent's own.
    pub user: Option<String>,
    /// How the host is to send.
    pub sending: Sending,
    /// What both ends do with a directory.
    pub tree: TreeOptions,
    /// Whether a directory is refused.
    pub file_only: bool,
    /// What becomes of the files here.
    pub overrides: ResolvedOverrides,
}

/// Where a source goes, which may turn out to be a file or a directory.
struct Dest {
    file: Destination,
    tree: Destination,
}

/// A file or a directory that comes from a host.
pub struct Fetch {
    request: Pull,
    /// Where to, if not to stdout.
    dest: Option<Dest>,
    owner: Owner,
    options: FetchOptions,
    filter: Filter,
    avoided: Avoided,
    acl_dropped: bool,
    lanes: Option<LanePool>,
}

/// Why nothing can be asked for.
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
    /// Fetches `source` to `dest`, or a file to stdout. `key` is the key that asks, for which the partial is
    /// kept.
    pub fn new(
        source: &[u8],
        dest: Option<&[u8]>,
        key: KeyId,
        options: FetchOptions,
    ) -> Result<Self, FetchError> {
        // The name comes from what was asked for, never from the host.
        let named = |path: &[u8]| -> Result<_, BadDestination> {
            let tree = tree_destination(source, path, !options.tree.only.is_empty())?;
            // What means a directory's contents is no file.
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

    /// Uses this many connections for a file. What goes to stdout comes over one.
    #[must_use]
    pub fn over(mut self, streams: Streams, host: &HostHandle) -> Self {
        if !self.is_stream() {
            let ends = Ends::Receives(ReceiveLanes::default());
            self.lanes = LanePool::new(host, streams, self.request.transfer, ends);
        }
        self
    }

    /// The request.
    pub fn request(&self) -> &Pull {
        &self.request
    }

    /// Whether the file goes to stdout.
    pub fn is_stream(&self) -> bool {
        self.dest.is_none()
    }

    /// Whether the file has an ACL that does not travel.
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
        match answer {
            Answer::LeftOut => Ok(()),
            Answer::File(offer) if self.is_dry_run() => {
                self.look(session, offer, watch, moved).await
            }
            Answer::File(offer) => self.file(session, &offer, progress, moved).await,
            Answer::Tree(root) => self.tree(session, root, watch, moved).await,
        }
    }

    /// Whether the rules leave the source out, if it is a file. Nothing is left out of stdout.
    fn is_left_out(&self) -> bool {
        let source = Path::new(OsStr::from_bytes(&self.request.source));
        self.dest.is_some() && self.filter.excludes_file(source)
    }

    fn is_dry_run(&self) -> bool {
        self.request.tree.as_ref().is_some_and(|options| options.dry_run)
    }

    /// What receives a file.
    fn target(&self, offer: &Offer) -> Result<Target, Failure> {
        let Some(dest) = &self.dest else {
            let stdout = Stream::new(std::io::stdout()).map_err(|e| stdout_failed(&e))?;
            return Ok(Target::Stream(stdout));
        };
        let place = Place::resolve(Path::new(""), &dest.file)?;
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
        let (never, mut received) = (Cancel::default(), Transferred::default());
        let observed = Observed::new(progress);
        let (link, lanes) = (&mut session.link, &mut self.lanes);
        let mut target = Receiving::from(target);
        if let Some(Ends::Receives(lanes)) = lanes.as_ref().map(LanePool::ends) {
            target = target.on_lanes(lanes.clone());
        }
        let sessions = session.welcome.limits.sessions;
        // Under a limit of the rate, more connections would gain nothing.
        let may_grow = self.options.sending.rate.is_none();
        let done = tokio::select! {
            biased;
            done = receive(link, target, offer, &placing, &observed, &never, &mut received) => done,
            never = LanePool::manage(lanes, &observed, sessions, may_grow) => match never {},
        };
        let streams = LanePool::used(lanes);
        *moved = Moved { had: observed.had(), streams, ..received.into() };
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

    /// What would become of a file here.
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
        let (base, preserve, overrides) = (PathBuf::new(), tree.preserve, overrides.clone());
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
        let (never, mut counts) = (Cancel::default(), Counts::default());
        let done = receive_tree(&mut session.link, arrival, watch, &never, &mut counts).await;
        *moved = (&counts).into();
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
        let mut target = open(Path::new(""), &dest.tree, self.owner)?;
        if let Some(home) = std::env::home_dir() {
            target.check_delete(&home, &options)?;
        }
        target.lock()?;
        let (filter, overrides) = (self.filter.clone(), self.options.overrides.clone());
        let avoid = self.avoided.files.clone();
        Ok(TreeArrival { target, root, options, filter, overrides, avoid })
    }

    /// Whether another attempt can follow one that broke after this much: what went to stdout can't be taken
    /// back, nor begun again.
    pub fn can_go_on(&self, moved: &Moved) -> bool {
        self.dest.is_some() || moved.is_nothing()
    }
}

fn stdout_failed(error: &std::io::Error) -> Failure {
    Failure::request(error.raw_os_error().map_or(Cause::Internal, Cause::Os))
}

/// What the host has.
#[derive(PartialEq, Eq)]
enum Answer {
    File(Offer),
    /// A file that the rules leave out.
    LeftOut,
    Tree(Entry),
}

/// Reads the agent's answer: the file or directory as it is there, or why there is none.
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
