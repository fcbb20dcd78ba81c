//! A directory that is sent to a host.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lariat_base::name::TransferId;
use lariat_base::secret::NoRandomness;
use lariat_engine::tree::{Avoid, Counts, Filter, TreeSource, Watch, send_tree};
use lariat_engine::{Cancel, SendLanes, TransferError};
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::transfer::{Destination, Overrides, Sending};
use lariat_wire::protocol::tree::{PushTree, TreeOptions};

use super::error::AttemptError;
use super::lanes::{Ends, LanePool, Streams};
use super::moved::{Counting, Moved};
use super::observed::ObservedTree;
use crate::connect::Session;
use crate::host::HostHandle;

/// Files of a directory whose failure ended a connection, and that are not tried again.
#[derive(Clone, Debug, Default)]
pub struct Avoided {
    /// The failures, by path.
    pub(crate) files: Avoid,
    /// The failures that the host reported.
    there: Vec<Failure>,
}

impl Avoided {
    /// The failures that the host reported in earlier attempts.
    pub fn said_by_host(&self) -> &[Failure] {
        &self.there
    }

    /// Classifies the error of an interrupted tree: a file that ended the connection is not tried again, and
    /// the rest continues.
    pub(crate) fn classify(&mut self, error: TransferError, counts: Counts) -> AttemptError {
        if let Some((path, failure)) = counts.aborted_by {
            if matches!(error, TransferError::Remote(_)) {
                self.there.push(failure.clone());
            }
            if self.files.insert(path, failure).is_none() {
                return AttemptError::AbortedByFile;
            }
        }
        match error {
            TransferError::Remote(failure) if counts.moved == 0 => AttemptError::refused(failure),
            error => AttemptError::Transfer(error),
        }
    }
}

/// A directory that is sent to a host.
pub struct TreePush {
    source: PathBuf,
    /// The request.
    pub request: PushTree,
    sending: Sending,
    filter: Filter,
    avoided: Avoided,
    lanes: Option<LanePool>,
}

/// Why a directory can't be sent.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// It can't be opened.
    #[error(transparent)]
    Open(Failure),
    /// The system gives no random bytes.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl TreePush {
    /// Opens the directory once, to describe it.
    pub fn open(
        source: &OsStr,
        dest: Destination,
        options: TreeOptions,
        filter: Filter,
        overrides: Overrides,
        user: Option<String>,
        sending: Sending,
    ) -> Result<Self, TreeError> {
        let source = Path::new(source).to_owned();
        let root = TreeSource::open(&source, options.clone(), filter.clone());
        let root = root.map_err(TreeError::Open)?.root().clone();
        let transfer = TransferId::generate()?;
        let request = PushTree { transfer, dest, root, options, overrides, user };
        let avoided = Avoided::default();
        Ok(Self { source, request, sending, filter, avoided, lanes: None })
    }

    /// Uses this many connections.
    #[must_use]
    pub fn over(mut self, streams: Streams, host: &HostHandle) -> Self {
        let ends = Ends::Sends(SendLanes::default());
        self.lanes = LanePool::new(host, streams, self.request.transfer, ends);
        self
    }

    /// The directory's path.
    pub fn source(&self) -> &[u8] {
        self.source.as_os_str().as_bytes()
    }

    /// Files that are not tried again.
    pub fn avoided(&self) -> &Avoided {
        &self.avoided
    }

    /// One attempt: see [`Transfer::attempt`](super::Transfer::attempt).
    pub async fn attempt(
        &mut self,
        session: &mut Session,
        watch: &dyn Watch,
        moved: &mut Moved,
    ) -> Result<(), AttemptError> {
        let source =
            TreeSource::open(&self.source, self.request.options.clone(), self.filter.clone());
        let source = source.map_err(AttemptError::Here)?;
        let source = match self.lanes.as_ref().map(LanePool::ends) {
            Some(Ends::Sends(lanes)) => lanes.carry_tree(source),
            _ => source,
        };
        LanePool::begin(&mut self.lanes, session);
        let (never, observed) = (Cancel::default(), ObservedTree::new(watch));
        let mut counting = Counting::new(moved, |counts: &Counts| counts.into());
        let (link, avoid, how) = (&mut session.link, self.avoided.files.clone(), self.sending);
        let (lanes, counts) = (&mut self.lanes, &mut counting.counts);
        // With a rate limit, more connections would gain nothing.
        let may_grow = how.rate.is_none();
        let done = tokio::select! {
            biased;
            done = send_tree(link, source, avoid, how, &observed, &never, counts) => done,
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
            Err(error) => Err(self.avoided.classify(error, counts)),
        }
    }
}
