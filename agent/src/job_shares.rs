//! What jobs take of the budget. A job ends without telling the agent, so its share is looked after
//! only when somebody gets none: then those of jobs that run no more are given back.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard};

use lariat_base::lock::lock;
use lariat_base::name::{JobId, KeyId};

use crate::budget::{Budget, Exhausted, Holder, Resource, Share};
use crate::jobs::Jobs;

/// The shares of all jobs that run, and of some that did.
pub struct JobShares {
    budget: Budget,
    shares: Mutex<HashMap<JobId, Share>>,
}

impl JobShares {
    /// With those of the jobs that run from before; `holder` tells who a key is.
    pub fn load(
        jobs: &Jobs,
        budget: &Budget,
        holder: impl Fn(KeyId) -> Holder,
    ) -> io::Result<Self> {
        let held = |(key, job)| (job, budget.take_held(holder(key), Resource::Job));
        let shares = jobs.alive()?.into_iter().map(held).collect();
        Ok(Self { budget: budget.clone(), shares: Mutex::new(shares) })
    }

    /// A share for one more job. It counts until it is dropped or kept.
    pub fn take(&self, holder: Holder, jobs: &Jobs) -> Result<Share, Exhausted> {
        let take = || self.budget.take(holder, Resource::Job, 1);
        take().or_else(|_| {
            self.lock().retain(|&job, _| jobs.is_alive(job));
            take()
        })
    }

    /// The job has been started, and has its share until it ends.
    pub fn keep(&self, job: JobId, share: Share) {
        self.lock().insert(job, share);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Share>> {
        lock(&self.shares)
    }
}
