//! Dry runs of a file that goes alone: what a push would do here, and what a pull would bring.

use std::ops::ControlFlow;

use lariat_common::account;
use lariat_common::escape::escape;
use lariat_common::link::LinkError;
use lariat_common::protocol::failure::{Cause, Failure};
use lariat_common::protocol::tree::{PushTree, Root};
use lariat_common::transfer::tree::{Look, describe_for, hear_look, look};
use lariat_common::transfer::{Source, TransferError};
use tracing::info;

use super::acting::Acting;
use super::{Logged, transfer_ended};
use crate::session::{Session, SessionLink};

/// Tells what a push of the file that is the root would do.
pub(super) async fn push(
    link: &mut SessionLink,
    push: PushTree,
    session: &Session,
) -> Result<ControlFlow<()>, LinkError> {
    let path = escape(&push.dest.path);
    let done = match open(push, session) {
        Ok((_acting, what)) => {
            let work = Box::pin(async { Ok(look(link, what, &Logged).await?.path) });
            until_stopped(session, work).await
        }
        Err(failure) => Err(failure.into()),
    };
    ended(link, "push", &path, done.map(|path| escape(&path))).await
}

fn open(push: PushTree, session: &Session) -> Result<(Acting, Look), Failure> {
    let PushTree { dest, root, options, placement, user } = push;
    let finish = account::finish(&placement)
        .map_err(|why| Failure::request(Cause::BadRequest(why.to_string())))?;
    let acting = Acting::begin(session, user.as_deref())?;
    let base = acting.user.home().to_owned();
    Ok((acting, Look { base, dest, root, options, finish }))
}

/// Describes a file to the controller, which looks what a pull of it would do.
pub(super) async fn pull(
    link: &mut SessionLink,
    source: Source,
    checksum: bool,
    path: &str,
    session: &Session,
) -> Result<ControlFlow<()>, LinkError> {
    let work = Box::pin(async {
        let entry = describe_for(link, source, checksum).await?;
        link.outbox().post(&Root { entry })?;
        Ok(hear_look(link, &Logged).await?.path)
    });
    let done = until_stopped(session, work).await;
    ended(link, "pull", path, done.map(|path| escape(&path))).await
}

/// Does it, unless the session is to end: a large file takes its time to be read.
async fn until_stopped<T>(
    session: &Session,
    work: impl Future<Output = Result<T, TransferError>>,
) -> Result<T, TransferError> {
    tokio::select! {
        done = work => done,
        () = session.stopped() => Err(Failure::request(Cause::Stopping).into()),
    }
}

/// Tells the controller of a failure of this end's. Nothing is under way then, and the session goes on.
async fn ended(
    link: &mut SessionLink,
    verb: &str,
    path: &str,
    done: Result<String, TransferError>,
) -> Result<ControlFlow<()>, LinkError> {
    if let Err(TransferError::Local(failure)) = done {
        info!("{verb} {path}, a dry run: {failure}");
        link.send(&failure).await?;
        return Ok(ControlFlow::Continue(()));
    }
    transfer_ended(verb, path, done.map(|path| format!("a dry run to {path}")))
}
