//! What controllers ask for: one file for each request, told apart here.
//!
//! A request is done with a permit, and ends by finishing it. However it ended, the session goes on, unless
//! the connection broke.

pub mod attach;
pub mod clean;
pub mod file_work;
pub mod kill;
pub mod list;
pub mod logs;
pub mod pull;
pub mod push;
pub mod push_tree;
pub mod run;

mod detached;
mod dry_run;
mod follow;
mod unread;

use lariat_engine::TransferError;
use lariat_engine::tree::{Side, Watch};
use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::failure::{Failure, FileKind};
use lariat_wire::protocol::request::{JobRequest, Request};
use lariat_wire::protocol::tree::Change;
use tracing::debug;

use crate::core::{Outcome, Permit, Session};
use crate::transport::BoxStream;

/// A session's connection, as requests get it.
pub type SessionLink = Link<BoxStream>;

/// Does what the permit is for.
pub async fn serve(
    link: &mut SessionLink,
    request: Request,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    // Boxed, so that hundreds of sessions that each run a command do not hold the room of a transfer.
    match request {
        Request::Job(request) => match request {
            JobRequest::Run(run) => Box::pin(run::serve(link, run, permit, session)).await,
            JobRequest::Attach(attach) => {
                Box::pin(attach::serve(link, attach, permit, session)).await
            }
            JobRequest::List(list) => Box::pin(list::serve(link, &list, permit, session)).await,
            JobRequest::Logs(logs) => Box::pin(logs::serve(link, logs, permit, session)).await,
            JobRequest::Kill(kill) => Box::pin(kill::serve(link, kill, permit, session)).await,
        },
        Request::File(request) => {
            Box::pin(file_work::serve_as_user(link, request, permit, session)).await
        }
    }
}

/// A tree's transfer that nobody here looks at, but for the log.
struct Logged;

impl Watch for Logged {
    fn listed(&self, _bytes: u64) {}

    fn had(&self, _bytes: u64) {}

    fn moved(&self, _bytes: u64) {}

    fn missed(&self, failure: &Failure, side: Side) {
        // What the controller misses is its own to tell.
        if side == Side::Here {
            debug!("missed: {failure}");
        }
    }

    fn skipped(&self, _path: &[u8], _kind: FileKind) {}

    fn acl_dropped(&self, _path: &[u8]) {}

    fn changed(&self, _change: &Change) {}
}

/// How a transfer ended. One that failed at this end has told its peer.
fn transfer_ended(outcome: Result<String, TransferError>) -> Result<Outcome, LinkError> {
    match outcome {
        Ok(summary) => Ok(Outcome::Done(summary)),
        Err(
            TransferError::Local(failure)
            | TransferError::Remote(failure)
            | TransferError::Missed(failure),
        ) => Ok(Outcome::Over(failure.to_string())),
        Err(TransferError::Link(error)) => Err(error),
    }
}
