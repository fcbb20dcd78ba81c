//! Answers a detached `Run`: confirms that the command has started. The job then continues without this
//! session.

use lariat_base::name::JobId;
use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::{Cause, Failure};
use tracing::warn;

use super::follow::{forget, forgotten};
use crate::core::{Digests, Outcome, Permit, Session};
use crate::jobs::{Event, Events};
use crate::transport::SessionLink;

/// Confirms that the command runs, once its supervisor reports that.
pub(super) async fn answer(
    link: &mut SessionLink,
    job: JobId,
    mut events: Events,
    mut permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    loop {
        let event = tokio::select! {
            biased;
            // The session itself says goodbye; a controller that comes back asks again.
            () = session.stopped() => return Ok(()),
            event = events.next() => event,
        };
        let outcome = match event {
            Ok(Event::Started(started)) => {
                link.outbox().post(&started)?;
                Outcome::Done("started, detached".to_owned().into())
            }
            Ok(Event::Exit(exit)) => {
                permit.not_started();
                // The command never started: only the job's id is kept.
                forgotten(job, session.agent.jobs.release(session.job(job)));
                link.outbox().post(&exit)?;
                Outcome::Exited(exit, Digests::default())
            }
            Ok(Event::Failed(failure)) => {
                permit.not_started();
                forget(job, session);
                Outcome::Failed(failure)
            }
            Ok(
                Event::OutputRange(_) | Event::Output(_) | Event::StdinTaken(_) | Event::Replaced,
            ) => continue,
            Err(error) => {
                warn!("job {job}: {error}");
                Outcome::Failed(Failure::request(Cause::Unwatched))
            }
        };
        return permit.finish(link.outbox(), &outcome);
    }
}
