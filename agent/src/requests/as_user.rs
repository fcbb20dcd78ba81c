//! File work as the user that the permit names.
//!
//! Work as the agent's own user is done on the session's thread. Work as another user is done by a [`worker`]
//! process with that user's rights; the agent only passes its frames on. The same code does the work either
//! way ([`file_work`]).

use std::io;
use std::sync::Arc;

use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::request::FileRequest;

use super::file_work;
use crate::core::{ActAs, Outcome, Permit, Session, Way};
use crate::files::Files;
use crate::meter::Meter;
use crate::policy::Confinement;
use crate::transport::SessionLink;
use crate::user::User;
use crate::worker::{self, Worker, WorkerRequest};

/// Serves a file request: the only way to do file work.
pub(super) async fn serve(
    link: &mut SessionLink,
    request: FileRequest,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let root = permit.grant().root.clone();
    let outcome = match permit.act_as() {
        ActAs::Agent(user) => {
            let files = files(user, root, permit.meter(), session);
            file_work::serve(link, request, &files).await?
        }
        ActAs::Other(user, credentials) => match Worker::start(credentials) {
            Ok(worker) => {
                let (request, meter) = (WorkerRequest::File(request), permit.meter());
                worker::relay(link, worker, request, (user, root), (session, &meter)).await?
            }
            Err(error) => Outcome::Failed(not_started(&error)),
        },
    };
    permit.finish(link.outbox(), &outcome)
}

/// Looks at the way of a request that is not served, as its user.
pub(super) async fn look(way: Way, session: &Session) -> Result<(), Failure> {
    let Way { request, root, act_as } = way;
    match act_as {
        ActAs::Agent(user) => files(&user, Some(root), Arc::default(), session).check_way(&request),
        ActAs::Other(user, credentials) => {
            let worker = Worker::start(&credentials).map_err(|error| not_started(&error))?;
            worker::look(worker, request, (&user, root), session).await
        }
    }
}

/// Opens files as the agent's own user.
fn files(user: &User, root: Option<Confinement>, meter: Arc<Meter>, session: &Session) -> Files {
    Files {
        key: session.owner(),
        uid: user.uid,
        home: user.home().to_owned(),
        root,
        transfers: session.agent.transfers.clone(),
        lanes: session.agent.lanes.clone(),
        meter,
        stop: session.stop.subscribe(),
    }
}

fn not_started(error: &io::Error) -> Failure {
    Failure::request(error.raw_os_error().map_or(Cause::Internal, Cause::Os))
}
