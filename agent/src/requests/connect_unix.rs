//! Connections through the host to a unix socket, with the rights of the user that the permit names: another user's
//! are made by a [`worker`] process.

use lariat_wire::link::LinkError;
use lariat_wire::protocol::connect::ConnectUnix;
use lariat_wire::protocol::failure::{Cause, Failure};

use super::piped::stopped;
use super::socket_work;
use crate::core::{ActAs, Outcome, Permit, Session};
use crate::meter::Meter;
use crate::transport::SessionLink;
use crate::worker::{self, Worker, WorkerRequest};

/// Connects, and carries bytes until both directions have ended.
pub(super) async fn serve(
    link: &mut SessionLink,
    request: ConnectUnix,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let outcome = match permit.act_as() {
        ActAs::Agent(_) => {
            let state = Some(session.agent.state.as_path());
            socket_work::serve(link, &request.path, state, stopped(session)).await?
        }
        ActAs::Other(user, credentials) => match Worker::start(credentials) {
            Ok(worker) => {
                let request = WorkerRequest::Socket(request);
                worker::relay(link, worker, request, (user, None), (session, &Meter::default()))
                    .await?
            }
            Err(error) => Outcome::Failed(Failure::request(
                error.raw_os_error().map_or(Cause::Internal, Cause::Os),
            )),
        },
    };
    permit.finish(link.outbox(), &outcome)
}
