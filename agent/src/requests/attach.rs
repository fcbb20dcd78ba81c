//! `attach`: a job that a key has started before, on a connection that is no more.

use std::ops::ControlFlow;

use lariat_base::clock::since_boot;
use lariat_wire::link::LinkError;
use lariat_wire::protocol::exec::Attach;
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::job::Reading;
use tracing::{info, warn};

use super::{detached, follow, unread};
use crate::jobs::channel::ToSupervisor;
use crate::jobs::{Found, JobStatus};
use crate::session::{Session, SessionLink};

/// Goes on with a job, until the controller has everything.
pub async fn serve(
    link: &mut SessionLink,
    attach: Attach,
    session: &Session,
) -> Result<ControlFlow<()>, LinkError> {
    let up_ms = u64::try_from(since_boot().as_millis()).unwrap_or(u64::MAX);
    let unknown = Failure::request(Cause::NoSuchJob { up_ms });
    go_on(link, attach, unknown, session).await
}

/// The same; `unknown` is the answer if there is no such job.
pub(super) async fn go_on(
    link: &mut SessionLink,
    Attach { job, received }: Attach,
    unknown: Failure,
    session: &Session,
) -> Result<ControlFlow<()>, LinkError> {
    let found = tokio::select! {
        biased;
        // The session itself says goodbye.
        () = session.stopped() => return Ok(ControlFlow::Continue(())),
        found = session.agent.jobs.find(session.key.id, job) => found,
    };
    let failure = match found {
        Ok(Some(Found { record, fate, directory })) => match fate {
            JobStatus::Alive(ear, _, _) if record.kept => {
                return detached::answer(link, job, ear, session).await;
            }
            JobStatus::Alive(ear, mouth, stands)
                if received.is_none_or(|from| stands.has(from)) =>
            {
                info!("attach: job {job}");
                if received.is_none() {
                    link.outbox().post(&Reading { from: stands.from })?;
                }
                // One that has gone meanwhile is found out by the ear.
                let _ = mouth.say(&ToSupervisor::Follow).await;
                let from = received.unwrap_or(stands.from);
                return follow::follow(link, job, (ear, mouth), from, session).await;
            }
            JobStatus::Over(exit) if record.kept => {
                info!("attach: job {job} is over");
                link.send(&exit).await?;
                return Ok(ControlFlow::Continue(()));
            }
            JobStatus::Over(exit) => match unread::Unread::open(directory, exit, received) {
                Ok(Some(unread)) => {
                    info!("attach: job {job} is over");
                    return unread.serve(link, job, session).await;
                }
                Ok(None) => Failure::request(Cause::Forgotten),
                Err(error) => Failure::io(Action::Read, b"its output", &error),
            },
            JobStatus::Alive(..) => Failure::request(Cause::Forgotten),
            JobStatus::Dead => Failure::request(Cause::Unwatched),
        },
        Ok(None) => unknown,
        Err(error) => error.into(),
    };
    warn!("attach: job {job}: {failure}");
    link.send(&failure).await?;
    Ok(ControlFlow::Continue(()))
}
