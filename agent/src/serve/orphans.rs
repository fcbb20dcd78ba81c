//! Ends the jobs of keys that the keyring no longer has, unless they were revoked so that their jobs go on.

use std::sync::Arc;

use tokio::task::{JoinSet, spawn_blocking};
use tracing::{info, warn};

use crate::core::Agent;
use crate::jobs::JobName;
use crate::keyring::{Revoked, is_local};

/// Ends all jobs whose key is gone.
pub(super) async fn end(agent: Arc<Agent>) {
    let found = {
        let agent = Arc::clone(&agent);
        // There may be many jobs.
        spawn_blocking(move || orphans(&agent)).await
    };
    let orphans = match found {
        Ok(Ok(orphans)) => orphans,
        Ok(Err(error)) => return warn!("jobs of keys that are gone can't be found: {error}"),
        // The panic hook has logged it.
        Err(_) => return,
    };
    let mut ending = JoinSet::new();
    for job in orphans {
        let agent = Arc::clone(&agent);
        ending.spawn(async move {
            match agent.jobs.end(job).await {
                Ok(()) => info!("job {job} was ended: its key is gone"),
                Err(error) => warn!("job {job}, whose key is gone, can't be ended: {error}"),
            }
        });
    }
    ending.join_all().await;
}

fn orphans(agent: &Agent) -> std::io::Result<Vec<JobName>> {
    if agent.job_shares.is_empty() {
        return Ok(Vec::new());
    }
    let keyring = agent.keyring();
    let mut jobs = agent.jobs.alive()?;
    jobs.retain(|job| !is_local(job.key) && keyring.of_owner(job.key).is_none());
    if !jobs.is_empty() {
        let revoked = Revoked::load(&agent.state).map_err(std::io::Error::other)?;
        jobs.retain(|job| !revoked.keeps_jobs(job.key));
    }
    Ok(jobs)
}
