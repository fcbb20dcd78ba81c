//! `run`: a command of this host, under a supervisor of its own.

use std::ops::ControlFlow;

use lariat_base::name::JobId;
use lariat_wire::link::LinkError;
use lariat_wire::protocol::exec::{Ack, Attach, Run, Streams};
use lariat_wire::protocol::failure::{Cause, Failure, Limit};
use tracing::{info, warn};

use super::{attach, detached, follow};
use crate::budget::Share;
use crate::jobs::StartError;
use crate::session::{Session, SessionLink};

/// Runs a command and carries its streams, until the controller has everything.
pub async fn serve(
    link: &mut SessionLink,
    run: Run,
    session: &Session,
) -> Result<ControlFlow<()>, LinkError> {
    let (id, kept) = (run.job, run.streams == Streams::Kept);
    // The answer if the job was asked for before, on a connection that broke, and is this key's.
    let again = Attach { job: id, received: Some(Ack::default()) };
    let share = match admit(id, kept, session) {
        Ok(share) => share,
        // A job that is there already takes nothing more.
        Err(failure) => return attach::go_on(link, again, failure, session).await,
    };
    let agent = &session.agent;
    let started = agent.jobs.start(session.key.id, run);
    if started.is_ok() {
        agent.job_shares.keep(id, share);
    }
    match started {
        Ok((ear, _)) if kept => {
            info!("run: job {id}, detached");
            detached::answer(link, id, ear, session).await
        }
        Ok(started) => {
            info!("run: job {id}");
            follow::follow(link, id, started, Ack::default(), session).await
        }
        Err(StartError::Exists) => {
            let taken = Failure::from(StartError::Exists);
            attach::go_on(link, again, taken, session).await
        }
        Err(error) => {
            let failure = Failure::from(error);
            warn!("run: job {id}: {failure}");
            link.send(&failure).await?;
            Ok(ControlFlow::Continue(()))
        }
    }
}

/// Takes what one more job needs of what the key may have.
fn admit(job: JobId, kept: bool, session: &Session) -> Result<Share, Failure> {
    let agent = &session.agent;
    let share = agent.job_shares.take(session.holder, &agent.jobs)?;
    if kept {
        let most = if session.holder.is_owner() { agent.output } else { agent.output / 2 };
        match agent.jobs.make_room(session.key.id, most) {
            Ok(true) => {}
            Ok(false) => return Err(Failure::request(Cause::AtLimit(Limit::Output))),
            Err(error) => warn!("run: job {job}: old jobs can't be removed: {error}"),
        }
    }
    Ok(share)
}
