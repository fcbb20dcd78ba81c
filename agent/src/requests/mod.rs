//! What controllers ask for: one file for each request, told apart here.
//!
//! A request is done with a permit, and ends by finishing it. However it ended, the session goes on, unless
//! the connection broke.

mod as_user;
mod attach;
mod clean;
mod detached;
mod dry_run;
pub(crate) mod file_work;
mod find;
mod follow;
mod kill;
mod list;
mod logs;
mod pull;
mod push;
mod push_tree;
mod run;
mod transfer;
mod unread;

use lariat_wire::link::LinkError;
use lariat_wire::protocol::request::{JobRequest, Request};

use crate::core::{Permit, Session};
use crate::transport::SessionLink;

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
        Request::File(request) => Box::pin(as_user::serve(link, request, permit, session)).await,
    }
}
