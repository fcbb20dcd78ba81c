//! Lists running jobs, which count against the limits of their keys.

use std::io;

use super::name::JobName;
use super::record::{Record, State};
use super::start::Jobs;

impl Jobs {
    /// All jobs whose supervisors are running.
    pub fn alive(&self) -> io::Result<Vec<JobName>> {
        let mut names = self.directories.names()?;
        names.retain(|&job| self.is_alive(job));
        Ok(names)
    }

    /// Whether this job's supervisor is running.
    pub fn is_alive(&self, job: JobName) -> bool {
        // A job whose record is unreadable, or whose directory is removed meanwhile, is not running.
        self.directories.find(job).is_ok_and(|found| matches!(found.state, State::Alive(..)))
    }

    /// The record of this job, if its command is running.
    pub fn running(&self, job: JobName) -> Option<Record> {
        let found = self.directories.find(job).ok()?;
        (found.state == State::Alive(None)).then_some(found.record)
    }
}
