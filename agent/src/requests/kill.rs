//! `kill`: a signal for every process of a job.

use lariat_base::clock::since_boot;
use lariat_base::name::JobId;
use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::job::{Kill, Killed};

use super::SessionLink;
use crate::core::{Outcome, Permit, Session};
use crate::jobs::channel::{self, ToSupervisor};
use crate::jobs::{Found, JobStatus};

/// Sends the signal, and answers once the job's supervisor has passed it on.
pub async fn serve(
    link: &mut SessionLink,
    kill: Kill,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let outcome = match signal(kill, session).await {
        Ok(()) => {
            link.outbox().post(&Killed)?;
            Outcome::Done(format!("sent signal {}", kill.signal.number))
        }
        Err(failure) => Outcome::Failed(failure),
    };
    permit.finish(link.outbox(), &outcome)
}

async fn signal(kill: Kill, session: &Session) -> Result<(), Failure> {
    let Kill { job, signal, once, all_keys } = kill;
    let (mut events, commands) = match find(session, job, all_keys).await?.status {
        JobStatus::Alive(events, commands, _) => (events, commands),
        JobStatus::Over(_) => return Err(Failure::request(Cause::Over)),
        JobStatus::Dead => return Err(Failure::request(Cause::Unwatched)),
    };
    // A supervisor that has gone meanwhile has ended its job.
    let over = |_| Failure::request(Cause::Over);
    let signal = channel::Signal { number: signal.number, once };
    commands.say(&ToSupervisor::Signal(signal)).await.map_err(over)?;
    commands.finish().map_err(over)?;
    // It hangs up once it has read, and done, what it was told.
    while events.next().await.is_ok() {}
    Ok(())
}

/// A job of this session's key, or of any, or the one answer for all that are not.
pub(super) async fn find(session: &Session, job: JobId, all_keys: bool) -> Result<Found, Failure> {
    let key = (!all_keys).then_some(session.key.id);
    let found = session.agent.jobs.find(key, job).await.map_err(Failure::from)?;
    found.ok_or_else(|| {
        let up_ms = u64::try_from(since_boot().as_millis()).unwrap_or(u64::MAX);
        Failure::request(Cause::NoSuchJob { up_ms })
    })
}
