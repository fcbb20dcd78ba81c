//! What controllers ask for: one file for each request, told apart here.
//!
//! A request that was answered, however, leaves the session ready for the next one
//! ([`ControlFlow::Continue`]); one that broke off leaves it in a state that nobody knows, and ends it
//! in order ([`ControlFlow::Break`]).

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

use std::ops::ControlFlow;

use lariat_engine::TransferError;
use lariat_engine::tree::{Side, Watch};
use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::{Failure, FileKind};
use lariat_wire::protocol::request::Request;
use lariat_wire::protocol::tree::Change;
use tracing::{debug, info};

use crate::session::{Session, SessionLink};

/// Does what the policy has permitted.
pub async fn serve(
    link: &mut SessionLink,
    request: Request,
    session: &Session,
) -> Result<ControlFlow<()>, LinkError> {
    // Boxed, so that hundreds of sessions that each run a command do not hold the room of a transfer.
    match request {
        Request::Run(run) => Box::pin(run::serve(link, run, session)).await,
        Request::Attach(attach) => Box::pin(attach::serve(link, attach, session)).await,
        Request::List(list) => Box::pin(list::serve(link, list, session)).await,
        Request::Logs(logs) => Box::pin(logs::serve(link, logs, session)).await,
        Request::Kill(kill) => Box::pin(kill::serve(link, kill, session)).await,
        Request::File(request) => Box::pin(file_work::serve_as_user(link, request, session)).await,
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

/// Logs how a transfer ended. One that failed has told its peer, and leaves the link unusable.
fn transfer_ended(
    verb: &str,
    path: &str,
    outcome: Result<String, TransferError>,
) -> Result<ControlFlow<()>, LinkError> {
    match outcome {
        Ok(summary) => {
            info!("{verb} {path}: {summary}");
            Ok(ControlFlow::Continue(()))
        }
        Err(TransferError::Local(failure)) => {
            info!("{verb} {path}: {failure}");
            Ok(ControlFlow::Break(()))
        }
        Err(TransferError::Remote(failure) | TransferError::Missed(failure)) => {
            info!("{verb} {path}: the controller failed: {failure}");
            Ok(ControlFlow::Break(()))
        }
        Err(TransferError::Link(error)) => Err(error),
    }
}
