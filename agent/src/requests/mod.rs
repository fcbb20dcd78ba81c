//! What controllers ask for: one file for each request, told apart here.
//!
//! A request that was answered, however, leaves the session ready for the next one
//! ([`ControlFlow::Continue`]); one that broke off leaves it in a state that nobody knows, and ends it
//! in order ([`ControlFlow::Break`]).

pub mod attach;
pub mod kill;
pub mod list;
pub mod logs;
pub mod pull;
pub mod push;
pub mod run;

mod detached;
mod job;

use std::convert::Infallible;
use std::future::pending;
use std::ops::ControlFlow;

use lariat_common::link::LinkError;
use lariat_common::protocol::failure::Cause;
use lariat_common::protocol::request::Request;
use lariat_common::transfer::{Cancel, TransferError};
use tracing::info;

use crate::session::{Session, SessionLink};

/// Does what the policy has permitted.
pub async fn serve(
    link: &mut SessionLink,
    request: Request,
    session: &Session,
) -> Result<ControlFlow<()>, LinkError> {
    match request {
        Request::Run(run) => run::serve(link, run, session).await,
        Request::Attach(attach) => attach::serve(link, attach, session).await,
        Request::List(list) => list::serve(link, list, session).await,
        Request::Logs(logs) => logs::serve(link, logs, session).await,
        Request::Kill(kill) => kill::serve(link, kill, session).await,
        Request::Push(push) => push::serve(link, push, session).await,
        Request::Pull(pull) => pull::serve(link, pull, session).await,
    }
}

/// Ends a transfer when its session is to end. It goes on until the transfer has noticed.
async fn stopping(session: &Session, cancel: &Cancel) -> Infallible {
    session.stopped().await;
    cancel.cancel(Cause::Stopping);
    pending().await
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
        Err(TransferError::Remote(failure)) => {
            info!("{verb} {path}: the controller failed: {failure}");
            Ok(ControlFlow::Break(()))
        }
        Err(TransferError::Link(error)) => Err(error),
    }
}
