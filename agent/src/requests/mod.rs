//! The requests of controllers, one file each.
//!
//! A request is served with a permit, and ends by finishing it. Whatever the outcome, the session goes on
//! unless the connection broke.

mod as_user;
mod attach;
mod clean;
mod detached;
pub(crate) mod file_work;
mod find;
mod follow;
mod kill;
mod lane;
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

/// Serves a permitted request.
pub async fn serve(
    link: &mut SessionLink,
    request: Request,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    // Boxed, so that a session that runs a command doesn't reserve the size of a transfer's future.
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
