//! File work: what a push or a pull does with files, in whichever process has the rights for it.
//!
//! Work as the agent's own user is done on the session's thread. Work as another user is done by a
//! [`worker`] process that has that user's rights from its first instruction on a request; here the
//! agent only looks the user up and passes frames on. Either way the same code does the work
//! ([`serve`]).

use std::convert::Infallible;
use std::future::pending;
use std::path::PathBuf;

use lariat_base::name::KeyId;
use lariat_engine::Cancel;
use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::request::FileRequest;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::{SessionLink, clean, pull, push, push_tree};
use crate::core::{ActAs, Outcome, Permit, Session};
use crate::transfers::Transfers;
use crate::worker::{self, Worker};

/// What file work knows of the session that asks for it. The process has the user's rights already.
pub struct FileWork {
    /// The key that asks.
    pub key: KeyId,
    /// The number of the user as whom the work is done.
    pub uid: u32,
    /// Where relative paths begin.
    pub home: PathBuf,
    /// The transfers that write with the same rights.
    pub transfers: Transfers,
    /// Becomes true when the work is to end.
    pub stop: watch::Receiver<bool>,
}

impl FileWork {
    /// Waits until the work is to end. Cancelling it loses nothing.
    pub async fn stopped(&self) {
        if self.stop.clone().wait_for(|&stop| stop).await.is_err() {
            // Nobody is left who could say so.
            pending::<()>().await;
        }
    }

    /// Ends a transfer when the work is to end. It goes on until the transfer has noticed.
    pub(super) async fn stopping(&self, cancel: &Cancel) -> Infallible {
        self.stopped().await;
        cancel.cancel(Cause::Stopping);
        pending().await
    }
}

/// Does the work with the rights that this process has.
pub async fn serve<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    request: FileRequest,
    work: &FileWork,
) -> Result<Outcome, LinkError> {
    match request {
        FileRequest::Push(push) => push::serve(link, push, work).await,
        FileRequest::PushTree(push) => push_tree::serve(link, push, work).await,
        FileRequest::Pull(pull) => pull::serve(link, pull, work).await,
        FileRequest::Clean(request) => clean::serve(link, request, work).await,
    }
}

/// Has the work done as the user that the permit names: the one way for all file work.
pub(super) async fn serve_as_user(
    link: &mut SessionLink,
    request: FileRequest,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let outcome = match permit.act_as() {
        ActAs::Agent(user) => {
            let work = FileWork {
                key: session.key.id,
                uid: user.uid,
                home: user.home().to_owned(),
                transfers: session.agent.transfers.clone(),
                stop: session.stop.clone(),
            };
            serve(link, request, &work).await?
        }
        ActAs::Other(user, credentials) => match Worker::start(credentials) {
            Ok(worker) => worker::relay(link, worker, request, user, session).await?,
            Err(error) => Outcome::Failed(Failure::request(
                error.raw_os_error().map_or(Cause::Internal, Cause::Os),
            )),
        },
    };
    permit.finish(link.outbox(), &outcome)
}
