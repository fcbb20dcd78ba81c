//! Ends jobs that are no longer permitted: those of keys that the keyring does not have any longer, unless they were
//! revoked so that their jobs go on, and those that no session follows and that their keys' rules deny now. A job
//! that a session follows is ended by that session.

use std::sync::Arc;
use std::time::Duration;

use lariat_wire::protocol::Message;
use lariat_wire::protocol::exec::Run;
use lariat_wire::protocol::request::Request;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::core::{Agent, still_permitted, until_next_date};
use crate::jobs::JobName;
use crate::keyring::{Entry, Keyring, Revoked, is_local};

/// Ends them now, whenever the keyring changes, and when the dates of a key have passed. Never returns.
pub(super) async fn watch(agent: Arc<Agent>) {
    let mut keyring = agent.keyring.subscribe();
    loop {
        keyring.mark_unchanged();
        tokio::spawn(end(Arc::clone(&agent)));
        tokio::select! {
            // The sender is the agent's, which is held here.
            _ = keyring.changed() => {}
            () = sleep(until_next_end(&agent)) => {}
        }
    }
}

/// The time until the end of the next key, as long as that is worth waiting for.
fn until_next_end(agent: &Agent) -> Duration {
    let (clock, keyring) = (agent.clock(), agent.keyring());
    let is_to_come = |key: &&Arc<Entry>| key.not_after.is_some_and(|end| end >= clock.now);
    let waits = keyring.entries().filter(is_to_come).map(|key| until_next_date(key, clock));
    waits.min().unwrap_or(Duration::MAX)
}

async fn end(agent: Arc<Agent>) {
    let found = {
        let agent = Arc::clone(&agent);
        // There may be many jobs.
        spawn_blocking(move || unpermitted(&agent)).await
    };
    let unpermitted = match found {
        Ok(Ok(unpermitted)) => unpermitted,
        Ok(Err(error)) => {
            return warn!("jobs that are no longer permitted can't be found: {error}");
        }
        // The panic hook has logged it.
        Err(_) => return,
    };
    let mut ending = JoinSet::new();
    for (job, why) in unpermitted {
        let agent = Arc::clone(&agent);
        ending.spawn(async move {
            match agent.jobs.end(job).await {
                Ok(()) => info!("job {job} was ended: {why}"),
                Err(error) => {
                    warn!("job {job}, which is not permitted ({why}), can't be ended: {error}");
                }
            }
        });
    }
    ending.join_all().await;
}

/// The jobs that are not permitted, and why.
fn unpermitted(agent: &Agent) -> std::io::Result<Vec<(JobName, String)>> {
    if agent.job_shares.is_empty() {
        return Ok(Vec::new());
    }
    let keyring = agent.keyring();
    let mut found = Vec::new();
    let mut revoked = None;
    for job in agent.jobs.alive()?.into_iter().filter(|job| !is_local(job.key)) {
        if keyring.of_owner(job.key).is_some() {
            found.extend(denied(agent, &keyring, job).map(|why| (job, why)));
            continue;
        }
        let revoked = match &mut revoked {
            Some(revoked) => revoked,
            none => none.insert(Revoked::load(&agent.state).map_err(std::io::Error::other)?),
        };
        if !revoked.keeps_jobs(job.key) {
            found.push((job, "its key is gone".to_owned()));
        }
    }
    Ok(found)
}

/// Why the key of a job that no session follows may not run it any longer.
fn denied(agent: &Agent, keyring: &Keyring, job: JobName) -> Option<String> {
    let key = keyring.of_owner(job.key)?;
    let request = Request::decode(Run::KIND, &agent.jobs.request(job)?).ok()?;
    still_permitted(agent, key, &request).err().map(|denial| denial.to_string())
}
