//! `attach`: continues a job that the key started on an earlier connection.

use lariat_base::clock::{since_boot, whole_milliseconds};
use lariat_wire::link::LinkError;
use lariat_wire::protocol::exec::Attach;
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::job::Reading;

use super::{detached, follow, unread};
use crate::core::{Digests, Outcome, Permit, Session};
use crate::jobs::channel::ToSupervisor;
use crate::jobs::{Found, JobStatus};
use crate::transport::SessionLink;

/// Continues a job, until the controller has everything.
pub(super) async fn serve(
    link: &mut SessionLink,
    attach: Attach,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let up_ms = whole_milliseconds(since_boot());
    let unknown = Failure::request(Cause::NoSuchJob { up_ms });
    go_on(link, attach, unknown, permit, session).await
}

/// Continues a job; answers with `unknown` if there is no such job.
pub(super) async fn go_on(
    link: &mut SessionLink,
    Attach { job, received }: Attach,
    unknown: Failure,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let found = tokio::select! {
        biased;
        // The session itself says goodbye.
        () = session.stopped() => return Ok(()),
        found = session.agent.jobs.find(Some(session.owner()), job) => found,
    };
    let failure = match found {
        Ok(Some(Found { record, status, directory, .. })) => match status {
            JobStatus::Alive(events, _, _) if record.detached => {
                return detached::answer(link, job, events, permit, session).await;
            }
            JobStatus::Alive(events, commands, range)
                if received.is_none_or(|from| range.has(from.into())) =>
            {
                if received.is_none() {
                    link.outbox().post(&Reading { from: range.from.into() })?;
                }
                // If the supervisor has gone meanwhile, the end of its events shows it.
                let _ = commands.say(&ToSupervisor::Follow(())).await;
                let from = received.unwrap_or(range.from.into());
                let (job_io, is_shell) = ((events, commands), record.is_login_shell());
                return follow::follow(link, job, job_io, from, is_shell, permit, session).await;
            }
            JobStatus::Over(exit) if record.detached => {
                link.outbox().post(&exit)?;
                return permit.finish(link.outbox(), &Outcome::Exited(exit, Digests::default()));
            }
            JobStatus::Over(exit) => match unread::Unread::open(directory, exit, received) {
                Ok(Some(unread)) => return unread.serve(link, job, permit, session).await,
                Ok(None) => Failure::request(Cause::Forgotten),
                Err(error) => Failure::io(Action::Read, b"its output", &error),
            },
            JobStatus::Alive(..) => Failure::request(Cause::Forgotten),
            JobStatus::Dead => Failure::request(Cause::Unwatched),
        },
        Ok(None) => unknown,
        Err(error) => error.into(),
    };
    permit.finish(link.outbox(), &Outcome::Failed(failure))
}
