//! Transfers one file, without options: enough for most programs.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use lariat_base::secret::NoRandomness;
use lariat_engine::tree::{Side, Watch};
use lariat_engine::{Progress, ResolvedOverrides, Source};
use lariat_wire::protocol::failure::{Failure, FileKind};
use lariat_wire::protocol::metadata::Preserve;
use lariat_wire::protocol::pull::Pull;
use lariat_wire::protocol::transfer::{Overrides, Push, Sending};
use lariat_wire::protocol::tree::{Change, TreeOptions};

use super::attempts::{GaveUp, Transfer, Transfers};
use super::destination::{BadDestination, file_destination};
use super::error::AttemptError;
use super::file_push::FilePush;
use super::lanes::Streams;
use super::moved::Moved;
use super::pull::{Fetch, FetchError, FetchOptions};
use crate::connect::Session;
use crate::host::HostHandle;

/// Why a file was not transferred.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The local file can't be opened.
    #[error(transparent)]
    Open(Failure),
    /// The file's name can't be used for its copy.
    #[error(transparent)]
    Destination(#[from] BadDestination),
    /// The request can't be made.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The system gives no random bytes.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The transfer did not finish.
    #[error(transparent)]
    GaveUp(#[from] GaveUp),
}

/// Sends a file to a host. `dest` is the copy's path, or an existing directory for it; a relative path begins
/// at the user's home there. Bytes that the host has already are not sent.
pub async fn push_file(
    host: &HostHandle,
    source: &Path,
    dest: &[u8],
    progress: &dyn Progress,
) -> Result<Moved, FileError> {
    let dest = file_destination(source.as_os_str().as_bytes(), dest)?;
    let (preserve, overrides) = (Preserve::default(), Overrides::default());
    let file = Source::open(source, preserve).map_err(FileError::Open)?;
    let push = FilePush::new(file, dest, preserve, overrides, None, Sending::default())?;
    let push = push.over(Streams::Auto, host);
    one(host, Pushing { push, progress }).await
}

/// Fetches a file from a host. `dest` is the copy's path, or an existing directory for it. Bytes that exist
/// locally are not sent.
pub async fn pull_file(
    host: &HostHandle,
    source: &[u8],
    dest: &Path,
    progress: &dyn Progress,
) -> Result<Moved, FileError> {
    let options = FetchOptions {
        user: None,
        sending: Sending::default(),
        tree: TreeOptions::default(),
        file_only: true,
        overrides: ResolvedOverrides::default(),
        brought: None,
    };
    let dest = dest.as_os_str().as_bytes();
    let fetch = Fetch::new(source, Some(dest), host.key(), options)?.over(Streams::Auto, host);
    Box::pin(one(host, Pulling { fetch, progress })).await
}

async fn one<T: Transfer>(host: &HostHandle, mut transfer: T) -> Result<Moved, FileError> {
    let mut transfers = Transfers::new(host);
    let moved = transfers.run(&mut transfer).await;
    transfers.close().await;
    Ok(moved?)
}

struct Pushing<'a> {
    push: FilePush,
    progress: &'a dyn Progress,
}

impl Transfer for Pushing<'_> {
    type Request = Push;

    fn request(&self) -> &Push {
        &self.push.request
    }

    async fn attempt(
        &mut self,
        session: &mut Session,
        moved: &mut Moved,
    ) -> Result<(), AttemptError> {
        self.push.attempt(session, self.progress, moved).await
    }

    fn can_go_on(&self, _: &Moved) -> bool {
        !self.push.is_stream()
    }

    fn can_be_left(&self) -> bool {
        !self.push.is_stream()
    }
}

struct Pulling<'a> {
    fetch: Fetch,
    progress: &'a dyn Progress,
}

impl Transfer for Pulling<'_> {
    type Request = Pull;

    fn request(&self) -> &Pull {
        self.fetch.request()
    }

    async fn attempt(
        &mut self,
        session: &mut Session,
        moved: &mut Moved,
    ) -> Result<(), AttemptError> {
        self.fetch.attempt(session, self.progress, &NoTree, moved).await
    }

    fn can_go_on(&self, moved: &Moved) -> bool {
        self.fetch.can_go_on(moved)
    }

    fn can_be_left(&self) -> bool {
        !self.fetch.is_stream()
    }
}

/// Ignores events, because a directory is refused.
struct NoTree;

impl Watch for NoTree {
    fn listed(&self, _: u64) {}

    fn had(&self, _: u64) {}

    fn moved(&self, _: u64) {}

    fn missed(&self, _: &Failure, _: Side) {}

    fn skipped(&self, _: &[u8], _: FileKind) {}

    fn acl_dropped(&self, _: &[u8]) {}

    fn changed(&self, _: &Change) {}
}
