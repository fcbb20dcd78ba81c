//! Which jobs run: what counts against what their keys may have.

use std::io;

use lariat_base::name::{JobId, KeyId};

use super::record::State;
use super::start::Jobs;

impl Jobs {
    /// All jobs whose supervisors are there, and whose they are.
    pub fn alive(&self) -> io::Result<Vec<(KeyId, JobId)>> {
        let mut alive = Vec::new();
        for job in self.directories.ids()? {
            // One that can't be read, or goes while we look, runs no more.
            if let Ok(found) = self.directories.find(job)
                && matches!(found.state, State::Alive(..))
            {
                alive.push((found.record.key, job));
            }
        }
        Ok(alive)
    }

    /// Whether this job's supervisor is there.
    pub fn is_alive(&self, job: JobId) -> bool {
        self.directories.find(job).is_ok_and(|found| matches!(found.state, State::Alive(..)))
    }
}
