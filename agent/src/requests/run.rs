//! `run`: runs a command on this host, under a supervisor of its own.

use lariat_base::name::JobId;
use lariat_wire::link::LinkError;
use lariat_wire::protocol::exec::{Ack, Attach, Command, Run, Streams};
use lariat_wire::protocol::failure::{Cause, Failure, Limit};
use tracing::warn;

use super::{attach, detached, follow};
use crate::budget::{Holder, Share};
use crate::core::{Outcome, Permit, Session};
use crate::jobs::StartError;
use crate::transport::SessionLink;

/// Runs a command and passes its streams on, until the controller has everything.
pub(super) async fn serve(
    link: &mut SessionLink,
    mut run: Run,
    mut permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let (id, is_detached) = (run.job, run.streams == Streams::Detached);
    // The answer if this key started the job earlier, on a connection that broke.
    let again = Attach { job: id, received: Some(Ack::default()) };
    let share = match admit(id, is_detached, session) {
        Ok(share) => share,
        // A job that exists already takes no further share.
        Err(failure) => return attach::go_on(link, again, failure, permit, session).await,
    };
    let agent = &session.agent;
    let program = permit.grant().program.clone().map(|program| {
        run.command = Command::Argv(program.words);
        program.path
    });
    let is_shell = run.command == Command::Login;
    let kept = if is_detached { permit.unattended() } else { None };
    let (key, is_owners) = (session.owner(), session.holder.is_owner());
    let started = agent.jobs.start(key, run, permit.act_as(), program, kept.as_ref(), is_owners);
    if started.is_ok() {
        agent.job_shares.keep(session.job(id), share);
        if is_detached {
            permit.detach(session.job(id));
        }
    }
    match started {
        Ok((events, _)) if is_detached => detached::answer(link, id, events, permit, session).await,
        Ok(started) => {
            follow::follow(link, id, started, Ack::default(), is_shell, permit, session).await
        }
        Err(StartError::Exists) => {
            let taken = Failure::from(StartError::Exists);
            attach::go_on(link, again, taken, permit, session).await
        }
        Err(error) => permit.finish(link.outbox(), &Outcome::Failed(error.into())),
    }
}

/// Takes a share of the key's jobs, and makes room for a detached job's output.
fn admit(job: JobId, is_detached: bool, session: &Session) -> Result<Share, Failure> {
    let agent = &session.agent;
    let share = agent.job_shares.take(session.holder, &agent.jobs)?;
    if is_detached {
        let (own, keyring) = (session.owner(), agent.keyring());
        let holder = |key| if key == own { session.holder } else { Holder::named(key, &keyring) };
        match agent.jobs.make_room(own, |key| holder(key).is_owner()) {
            Ok(true) => {}
            Ok(false) => return Err(Failure::request(Cause::AtLimit(Limit::Output))),
            Err(error) => warn!("run: job {job}: old jobs can't be removed: {error}"),
        }
    }
    Ok(share)
}
