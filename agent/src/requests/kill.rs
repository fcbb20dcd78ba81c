//! `kill`: sends a signal to every process of a job.

use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::job::{Kill, Killed};

use super::find::find;
use crate::core::{Outcome, Permit, Session};
use crate::jobs::JobStatus;
use crate::jobs::channel::{self, ToSupervisor};
use crate::transport::SessionLink;

/// Sends the signal, and answers once the job's supervisor has passed it on.
pub(super) async fn serve(
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
    // If the supervisor has gone meanwhile, its job has ended.
    let over = |_| Failure::request(Cause::Over);
    let signal = channel::Signal { number: signal.number, once };
    commands.say(&ToSupervisor::Signal(signal)).await.map_err(over)?;
    commands.finish().map_err(over)?;
    // The supervisor hangs up once it has handled the signal.
    let handled = async { while events.next().await.is_ok() {} };
    tokio::select! {
        () = handled => Ok(()),
        () = session.stopped() => Err(Failure::request(Cause::Stopping)),
    }
}
