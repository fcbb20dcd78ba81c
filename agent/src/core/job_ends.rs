//! The ends of jobs that no session follows: detached ones, and those whose session ended first. Each gets its line in the
//! audit when it comes, also after a restart of the agent.
//!
//! Nothing notifies the agent when such a job ends, so it looks from time to time, as long as there are any.

use std::collections::BTreeSet;
use std::io;
use std::sync::Mutex;

use lariat_base::lock::lock;
use lariat_base::os_error::io_error;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::ending::Ending;
use crate::audit::{Audit, Kept, Unfinished};
use crate::jobs::{JobName, Jobs, Unattended};

/// The jobs whose end the audit does not have yet.
#[derive(Default)]
pub struct JobEnds {
    /// Held while a line is written, so that a job has only one.
    waiting: Mutex<BTreeSet<JobName>>,
    begun: Notify,
}

impl JobEnds {
    /// Those that earlier runs of the agent have left.
    pub fn load(jobs: &Jobs) -> io::Result<Self> {
        let waiting = Mutex::new(jobs.unaudited()?.into_iter().collect());
        Ok(Self { waiting, begun: Notify::new() })
    }

    /// Writes the ends of requests that an agent which was killed has left, and lets the ends of their jobs be written
    /// when they come.
    pub fn recover(unfinished: Vec<Unfinished>, jobs: &Jobs, audit: &Audit) {
        for Unfinished { kept, job, detached } in unfinished {
            let kept_for = |(key, id)| jobs.keep_audit(JobName { key, id }, &kept.to_bytes());
            let is_expected = match job.map(kept_for) {
                Some(Ok(())) => true,
                Some(Err(error)) => error.kind() == io::ErrorKind::AlreadyExists,
                None => false,
            };
            if !(detached && is_expected) {
                audit.add("ended", &[&kept, &Ending::killed()]);
            }
        }
    }

    /// A detached job was started, whose end is to be written.
    pub(super) fn expect(&self, job: JobName) {
        lock(&self.waiting).insert(job);
        self.begun.notify_one();
    }

    /// The session that followed a job has ended. Unless another takes the job up, this is said at its end.
    pub(super) fn left(&self, job: JobName, unattended: &Unattended, jobs: &Jobs) {
        match jobs.keep(job, unattended) {
            // The job has ended, and everything of it was delivered.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return warn!(
                    "the end of job {job} will not be in the audit: {}",
                    io_error(&error)
                );
            }
            Ok(()) | Err(_) => {}
        }
        self.expect(job);
    }

    /// Writes the lines of the jobs that have ended.
    pub fn write(&self, jobs: &Jobs, audit: &Audit) {
        lock(&self.waiting).retain(|&job| match write(job, jobs, audit) {
            Ok(is_over) => !is_over,
            // It was removed: its command was not started, or all was delivered. A session has reported that.
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => {
                warn!("the end of job {job} is not in the audit: {}", io_error(&error));
                false
            }
        });
    }

    /// Waits until there is a job whose end is to be written.
    pub async fn any(&self) {
        while lock(&self.waiting).is_empty() {
            self.begun.notified().await;
        }
    }
}

/// Writes the line of a job, unless it runs. Returns whether it has ended.
fn write(job: JobName, jobs: &Jobs, audit: &Audit) -> io::Result<bool> {
    let Some(ended) = jobs.ended_unaudited(job)? else { return Ok(false) };
    let kept = Kept::read(&ended.text).unwrap_or_else(|| Kept::of_job(job.key, job.id));
    audit.add("ended", &[&kept, &Ending::of_job(ended.exit, ended.took)]);
    if let Some(exit) = ended.exit {
        info!("job {job}: ended with {}", exit.end.status());
    } else {
        info!("job {job}: it died with its supervisor or with the host");
    }
    // Last: a line that comes twice is better than none.
    jobs.audited(job)?;
    Ok(true)
}
