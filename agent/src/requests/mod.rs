//! The requests of controllers, one file each.
//!
//! A request is served with a permit, and ends by finishing it. Whatever the outcome, the session goes on
//! unless the connection broke.

mod as_user;
mod attach;
mod audit;
mod can;
mod clean;
mod connect;
mod connect_unix;
mod detached;
mod digest;
mod examine;
pub(crate) mod file_work;
mod find;
mod follow;
mod key;
mod kill;
mod lane;
mod list;
mod listen;
mod logs;
mod notes;
mod park;
mod piped;
mod pull;
mod push;
mod push_tree;
mod renew;
mod run;
pub(crate) mod socket_work;
mod status;
mod transfer;
mod unread;
mod upgrade;

use lariat_wire::link::LinkError;
use lariat_wire::protocol::request::{
    ConnectRequest, JobRequest, Request, RuleRequest, SightRequest,
};

use crate::boxed::boxed;
use crate::core::{Permit, Session};
use crate::transport::SessionLink;

/// Serves a permitted request.
pub async fn serve(
    link: &mut SessionLink,
    request: Request,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    // Each on the heap: a session that runs a command doesn't reserve the size of a transfer's future.
    match request {
        Request::Job(request) => match request {
            JobRequest::Run(run) => boxed(|| run::serve(link, run, permit, session)).await,
            JobRequest::Attach(attach) => {
                boxed(|| attach::serve(link, attach, permit, session)).await
            }
            JobRequest::List(list) => boxed(|| list::serve(link, list, permit, session)).await,
            JobRequest::Logs(logs) => boxed(|| logs::serve(link, logs, permit, session)).await,
            JobRequest::Kill(kill) => boxed(|| kill::serve(link, kill, permit, session)).await,
        },
        Request::Audit(request) => boxed(|| audit::serve(link, request, permit, session)).await,
        Request::Rule(RuleRequest::Can(can)) => {
            boxed(|| can::serve(link, can, permit, session)).await
        }
        Request::File(request) => boxed(|| as_user::serve(link, request, permit, session)).await,
        Request::Key(request) => boxed(|| key::serve(link, request, permit, session)).await,
        Request::Connect(request) => match request {
            ConnectRequest::Connect(connect) => {
                boxed(|| connect::serve(link, connect, permit, session)).await
            }
            ConnectRequest::ConnectUnix(connect) => {
                boxed(|| connect_unix::serve(link, connect, permit, session)).await
            }
            ConnectRequest::Listen(listen) => {
                boxed(|| listen::serve(link, listen, permit, session)).await
            }
            ConnectRequest::Park(park) => park::serve(link, park, permit, session),
            ConnectRequest::Take(take) => boxed(|| listen::take(link, take, permit, session)).await,
        },
        Request::Sight(request) => match request {
            SightRequest::Status(_) => boxed(|| status::serve(link, permit, session)).await,
            SightRequest::ReadNotes(read) => {
                boxed(|| notes::read(link, read, permit, session)).await
            }
            SightRequest::WriteNote(note) => {
                boxed(|| notes::write(link, note, permit, session)).await
            }
            SightRequest::ClearNotes(clear) => {
                boxed(|| notes::clear(link, clear, permit, session)).await
            }
        },
        Request::Certificate(request) => renew::serve(link, request, permit, session),
        Request::Agent(request) => boxed(|| upgrade::serve(link, request, permit, session)).await,
    }
}
