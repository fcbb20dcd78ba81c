//! The jobs' shares of the budget. Nothing notifies the agent when a job ends, so the shares of ended jobs
//! are given back only when the budget has none left for a new job, or somebody wants to know.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard};

use lariat_base::lock::lock;
use lariat_base::name::KeyId;

use crate::budget::{Budget, Exhausted, Holder, Resource, Share};
use crate::jobs::{JobName, Jobs};

/// The shares of all running jobs, and of some that have ended.
pub struct JobShares {
    budget: Budget,
    shares: Mutex<HashMap<JobName, Share>>,
}

impl JobShares {
    /// Charges the jobs that run already. `holder` returns the holder for a key.
    pub fn load(
        jobs: &Jobs,
        budget: &Budget,
        holder: impl Fn(KeyId) -> Holder,
    ) -> io::Result<Self> {
        let held = |job: JobName| (job, budget.take_held(holder(job.key), Resource::Job));
        let shares = jobs.alive()?.into_iter().map(held).collect();
        Ok(Self { budget: budget.clone(), shares: Mutex::new(shares) })
    }

    /// Takes a share for one more job. It counts until it is dropped or kept.
    pub fn take(&self, holder: Holder, jobs: &Jobs) -> Result<Share, Exhausted> {
        let take = || self.budget.take(holder, Resource::Job, 1);
        take().or_else(|_| {
            self.settle(jobs);
            take()
        })
    }

    /// Gives back the shares of jobs that have ended. Looks at each job on disk.
    pub fn settle(&self, jobs: &Jobs) {
        self.lock().retain(|&job, _| jobs.is_alive(job));
    }

    /// Whether no job runs.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// The jobs that have a share.
    pub fn names(&self) -> Vec<JobName> {
        self.lock().keys().copied().collect()
    }

    /// Keeps the share until the job has ended. Called once the job is started.
    pub fn keep(&self, job: JobName, share: Share) {
        self.lock().insert(job, share);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobName, Share>> {
        lock(&self.shares)
    }
}
