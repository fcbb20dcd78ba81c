//! A directory that goes to a host.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lariat_base::name::TransferId;
use lariat_base::secret::NoRandomness;
use lariat_engine::tree::{Avoid, Counts, Filter, TreeSource, Watch, send_tree};
use lariat_engine::{Cancel, TransferError};
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::transfer::{Destination, Overrides, Sending};
use lariat_wire::protocol::tree::{PushTree, TreeOptions};

use super::error::AttemptError;
use super::moved::Moved;
use crate::connect::Session;

/// Files of a directory that have ended a connection, and are not tried again.
#[derive(Clone, Debug, Default)]
pub struct Avoided {
    /// Why, by their paths.
    pub(crate) files: Avoid,
    /// The reasons that the host gave.
    there: Vec<Failure>,
}

impl Avoided {
    /// The reasons that the host gave in earlier attempts.
    pub fn said_by_host(&self) -> &[Failure] {
        &self.there
    }

    /// Classifies the error of a tree that has broken off: a file that ended the connection is not tried again,
    /// and the rest continues.
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

/// A directory that goes to a host.
pub struct TreePush {
    source: PathBuf,
    /// The request.
    pub request: PushTree,
    sending: Sending,
    filter: Filter,
    avoided: Avoided,
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
    /// Opens the directory once to see what it is.
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
        Ok(Self { source, request, sending, filter, avoided: Avoided::default() })
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
        let (never, mut counts) = (Cancel::default(), Counts::default());
        let (link, avoid, how) = (&mut session.link, self.avoided.files.clone(), self.sending);
        let done = send_tree(link, source, avoid, how, watch, &never, &mut counts).await;
        *moved = (&counts).into();
        match done {
            Ok(settled) => {
                moved.settled(&settled);
                Ok(())
            }
            Err(error) => Err(self.avoided.classify(error, counts)),
        }
    }
}
