//! `attach`: a job that a key has started before, on a connection that is no more.

use std::ops::ControlFlow;

use lariat_common::clock::since_boot;
use lariat_common::link::LinkError;
use lariat_common::protocol::exec::Attach;
use lariat_common::protocol::failure::{Cause, Failure};
use tracing::{info, warn};

use super::{detached, job};
use crate::jobs::channel::ToSupervisor;
use crate::jobs::{Fate, Found};
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
        Ok(Some(Found { record, fate, .. })) => match fate {
            Fate::Alive(ear, _, _) if record.kept => {
                return detached::answer(link, job, ear, session).await;
            }
            Fate::Alive(ear, mouth, stands) if stands.has(received) => {
                info!("attach: job {job}");
                // One that has gone meanwhile is found out by the ear.
                let _ = mouth.say(&ToSupervisor::Follow).await;
                return job::follow(link, job, (ear, mouth), received, session).await;
            }
            Fate::Over(exit) if record.kept || job::totals(exit) == received => {
                info!("attach: job {job} is over");
                link.send(&exit).await?;
                return Ok(ControlFlow::Continue(()));
            }
            Fate::Alive(..) | Fate::Over(_) => Failure::request(Cause::Forgotten),
            Fate::Dead => Failure::request(Cause::Unwatched),
        },
        Ok(None) => unknown,
        Err(error) => error.into(),
    };
    warn!("attach: job {job}: {failure}");
    link.send(&failure).await?;
    Ok(ControlFlow::Continue(()))
}
