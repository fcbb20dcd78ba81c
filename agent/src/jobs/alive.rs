//! Which jobs run: what counts against what their keys may have.

use std::io;

use super::name::JobName;
use super::record::State;
use super::start::Jobs;

impl Jobs {
    /// All jobs whose supervisors are there.
    pub fn alive(&self) -> io::Result<Vec<JobName>> {
        let mut names = self.directories.names()?;
        names.retain(|&job| self.is_alive(job));
        Ok(names)
    }

    /// Whether this job's supervisor is there.
    pub fn is_alive(&self, job: JobName) -> bool {
        // One that can't be read, or goes while we look, runs no more.
        self.directories.find(job).is_ok_and(|found| matches!(found.state, State::Alive(..)))
    }
}
