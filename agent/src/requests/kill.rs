//! `kill`: a signal for every process of one of the key's jobs.

use std::ops::ControlFlow;

use lariat_base::clock::since_boot;
use lariat_base::name::JobId;
use lariat_wire::link::LinkError;
use lariat_wire::protocol::exec::Signal;
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::job::{Kill, Killed};
use tracing::{info, warn};

use crate::jobs::channel::{SIGNALS_ONCE, ToSupervisor};
use crate::jobs::{Found, JobStatus};
use crate::session::{Session, SessionLink};

/// Largest number of a signal on Linux.
const LAST_SIGNAL: u8 = 64;

/// Sends the signal, and answers once the job's supervisor has passed it on.
pub async fn serve(
    link: &mut SessionLink,
    kill: Kill,
    session: &Session,
) -> Result<ControlFlow<()>, LinkError> {
    match signal(kill, session).await {
        Ok(()) => {
            info!("kill: job {}, signal {}", kill.job, kill.signal);
            link.send(&Killed).await?;
        }
        Err(failure) => {
            warn!("kill: job {}: {failure}", kill.job);
            link.send(&failure).await?;
        }
    }
    Ok(ControlFlow::Continue(()))
}

async fn signal(Kill { job, signal, once }: Kill, session: &Session) -> Result<(), Failure> {
    if !(1..=LAST_SIGNAL).contains(&signal) {
        let why = format!("there is no signal {signal}");
        return Err(Failure::request(Cause::BadRequest(why)));
    }
    let found = find(session, job).await?;
    let signal = Signal { number: signal };
    let word = if found.record.version >= SIGNALS_ONCE {
        ToSupervisor::SignalOnce { signal, once }
    } else {
        ToSupervisor::Signal(signal)
    };
    let (mut ear, mouth) = match found.fate {
        JobStatus::Alive(ear, mouth, _) => (ear, mouth),
        JobStatus::Over(_) => return Err(Failure::request(Cause::Over)),
        JobStatus::Dead => return Err(Failure::request(Cause::Unwatched)),
    };
    // A supervisor that has gone meanwhile has ended its job.
    let over = |_| Failure::request(Cause::Over);
    mouth.say(&word).await.map_err(over)?;
    mouth.finish().map_err(over)?;
    // It hangs up once it has read, and done, what it was told.
    while ear.next().await.is_ok() {}
    Ok(())
}

/// A job of this session's key, or the one answer for all that are not.
pub(super) async fn find(session: &Session, job: JobId) -> Result<Found, Failure> {
    let found = session.agent.jobs.find(session.key.id, job).await.map_err(Failure::from)?;
    found.ok_or_else(|| {
        let up_ms = u64::try_from(since_boot().as_millis()).unwrap_or(u64::MAX);
        Failure::request(Cause::NoSuchJob { up_ms })
    })
}
