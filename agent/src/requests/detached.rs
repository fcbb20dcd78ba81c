//! The answer to who starts a detached job: whether its command runs. That is all; it goes on by itself.

use std::ops::ControlFlow;

use lariat_base::name::JobId;
use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::{Cause, Failure};
use tracing::warn;

use super::follow::{failed_to_start, forgotten};
use crate::jobs::{Event, Events};
use crate::session::{Session, SessionLink};

/// Tells whether the command runs, as soon as the supervisor says so.
pub(super) async fn answer(
    link: &mut SessionLink,
    job: JobId,
    mut ear: Events,
    session: &Session,
) -> Result<ControlFlow<()>, LinkError> {
    loop {
        let event = tokio::select! {
            biased;
            // The session itself says goodbye; who comes back asks again.
            () = session.stopped() => return Ok(ControlFlow::Continue(())),
            event = ear.next() => event,
        };
        match event {
            Ok(Event::Started(started)) => link.send(&started).await?,
            Ok(Event::Exit(exit)) => {
                // It was never started: there is nothing to keep but its id.
                forgotten(job, session.agent.jobs.release(job));
                link.send(&exit).await?;
            }
            Ok(Event::Failed(failure)) => {
                return failed_to_start(link, failure, job, session).await;
            }
            Ok(
                Event::OutputRange(_) | Event::Output(_) | Event::StdinTaken(_) | Event::Replaced,
            ) => {
                continue;
            }
            Err(error) => {
                warn!("job {job}: {error}");
                link.send(&Failure::request(Cause::Unwatched)).await?;
            }
        }
        return Ok(ControlFlow::Continue(()));
    }
}
