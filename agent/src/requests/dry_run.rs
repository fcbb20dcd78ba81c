//! Dry runs of a single file: what a push would do here, and what a pull would send.

use lariat_base::escape::escape;
use lariat_engine::tree::{await_dry_run, describe, describe_offloaded, dry_run_file};
use lariat_engine::{Source, TransferError};
use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::tree::{PushTree, Root};
use tokio::io::{AsyncRead, AsyncWrite};

use super::transfer::{Logged, transfer_ended};
use crate::core::Outcome;
use crate::files::Files;

/// Reports what pushing the file at the root would do.
pub(super) async fn push<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    push: PushTree,
    files: &Files,
) -> Result<Outcome, LinkError> {
    let done = match files.look(push) {
        Ok(what) => {
            let looking = Box::pin(async { Ok(dry_run_file(link, what, &Logged).await?.path) });
            until_stopped(files, looking).await
        }
        Err(failure) => Err(failure.into()),
    };
    ended(done)
}

/// Describes a file to the controller, which reports what a pull of it would do.
pub(super) async fn pull<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    source: Source,
    checksum: bool,
    files: &Files,
) -> Result<Outcome, LinkError> {
    let looking = Box::pin(async {
        let (entry, source) = describe_offloaded(link, source, checksum).await?;
        link.outbox().post(&Root { entry })?;
        Ok(await_dry_run(link, &Logged, move || describe(&source, true)).await?.path)
    });
    let done = until_stopped(files, looking).await;
    ended(done)
}

/// Runs `looking` unless the session is to end: hashing a large file takes long.
async fn until_stopped<T>(
    files: &Files,
    looking: impl Future<Output = Result<T, TransferError>>,
) -> Result<T, TransferError> {
    tokio::select! {
        done = looking => done,
        () = files.stopped() => Err(Failure::request(Cause::Stopping).into()),
    }
}

/// The outcome of a dry run. A failure of this end has not been reported to the controller yet.
fn ended(done: Result<Vec<u8>, TransferError>) -> Result<Outcome, LinkError> {
    match done {
        Err(TransferError::Local(failure)) => Ok(Outcome::Failed(failure)),
        done => transfer_ended(done.map(|path| format!("a dry run to {}", escape(&path)))),
    }
}
