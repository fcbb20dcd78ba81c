//! `run`: a command of this host, under a supervisor of its own.

use std::ops::ControlFlow;

use lariat_common::link::LinkError;
use lariat_common::protocol::exec::{Ack, Attach, Run, Streams};
use lariat_common::protocol::failure::Failure;
use tracing::{info, warn};

use super::{attach, detached, job};
use crate::jobs::StartError;
use crate::session::{Session, SessionLink};

/// Runs a command and carries its streams, until the controller has everything.
pub async fn serve(
    link: &mut SessionLink,
    run: Run,
    session: &Session,
) -> Result<ControlFlow<()>, LinkError> {
    let (id, kept) = (run.job, run.streams == Streams::Kept);
    match session.agent.jobs.start(session.key.id, run) {
        Ok((ear, _)) if kept => {
            info!("run: job {id}, detached");
            detached::answer(link, id, ear, session).await
        }
        Ok(started) => {
            info!("run: job {id}");
            job::follow(link, id, started, Ack::default(), session).await
        }
        // Asked for before, on a connection that broke, if it is this key's.
        Err(StartError::Exists) => {
            let again = Attach { job: id, received: Some(Ack::default()) };
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
