//! Jobs that were started before, found for the key that they belong to. To any other key they are as
//! if they were not there.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use lariat_base::clock::milliseconds;
use lariat_base::name::{JobId, KeyId};
use lariat_wire::protocol::{exec, job};

use super::channel::{ChannelError, OutputRange};
use super::connection::{self, Commands, Event, Events};
use super::directory::{self, OldDirectory};
use super::name::JobName;
use super::record::{Record, State};
use super::start::{Jobs, StartError};

/// How often a supervisor is looked for that does not listen yet, and how long.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
const LOOK_FOR: Duration = Duration::from_secs(5);

/// A job that was found.
pub struct Found {
    /// Which it is.
    pub name: JobName,
    /// What was written down of it.
    pub record: Record,
    /// Its directory, with its output if it is detached.
    pub directory: OwnedFd,
    /// What has become of it.
    pub status: JobStatus,
}

/// What has become of a job that was found.
pub enum JobStatus {
    /// It is there, and tells everything again that still matters. Who does not say that it follows
    /// only listens.
    Alive(Events, Commands, OutputRange),
    /// It ended, and nobody came for it in time, or need come.
    Over(exec::Exit),
    /// It died with its supervisor, or with the host.
    Dead,
}

impl Jobs {
    /// Finds a job, of this key alone if one is given. Needs a tokio runtime around it.
    pub async fn find(&self, key: Option<KeyId>, id: JobId) -> Result<Option<Found>, StartError> {
        let name = match key {
            Some(key) => JobName { key, id },
            None => match self.of_any_key(id)? {
                Some(name) => name,
                None => return Ok(None),
            },
        };
        let began = tokio::time::Instant::now();
        loop {
            let found = match self.directories.find(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                result => result?,
            };
            let OldDirectory { directory, record, state, .. } = found;
            let status = match state {
                State::Over(exit) => JobStatus::Over(exit.into()),
                State::Dead => JobStatus::Dead,
                State::NeverBegan => return Ok(None),
                State::Alive(_) => match listen(directory.as_fd()).await {
                    Ok((events, commands, range)) => JobStatus::Alive(events, commands, range),
                    // It does not listen yet, or no more.
                    Err(_) if began.elapsed() < LOOK_FOR => {
                        tokio::time::sleep(LOOK_AGAIN).await;
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                },
            };
            return Ok(Some(Found { name, record, directory: directory.into(), status }));
        }
    }

    /// The job of this id, whoever's it is. Of several the first one that runs: one that came later may have its
    /// id from the first.
    fn of_any_key(&self, id: JobId) -> io::Result<Option<JobName>> {
        let mut names = self.directories.names()?;
        names.retain(|name| name.id == id);
        let began = |name: &JobName| self.directories.find(*name).map(|job| job.record.began_ms);
        Ok(names
            .into_iter()
            .min_by_key(|name| (!self.is_alive(*name), began(name).unwrap_or(u64::MAX))))
    }

    /// All jobs whose ids begin with these digits, of this key alone if one is given, the oldest first.
    pub fn list(&self, key: Option<KeyId>, prefix: &str) -> io::Result<Vec<job::Job>> {
        let mut jobs = Vec::new();
        for job in self.directories.names()? {
            let is_wanted = key.is_none_or(|key| job.key == key);
            if !is_wanted || !job.id.to_string().starts_with(prefix) {
                continue;
            }
            match self.directories.find(job) {
                Ok(found) if found.state != State::NeverBegan => {
                    jobs.push(self.listed(job.id, found));
                }
                // It goes while we look, or the host's crash has left nothing of it.
                Ok(_) | Err(_) => {}
            }
        }
        jobs.sort_by_key(|job| (job.began_ms, job.job));
        Ok(jobs)
    }

    fn listed(&self, job: JobId, found: OldDirectory) -> job::Job {
        let OldDirectory { record, state, heard_of, .. } = found;
        let (state, ended_ms) = match state {
            State::Alive(None) => (job::State::Running, None),
            // It was written to last when the command had ended.
            State::Alive(Some(exit)) | State::Over(exit) => {
                (job::State::Ended(exit.end.into()), heard_of.map(milliseconds))
            }
            State::Dead | State::NeverBegan => (self.died(&record), None),
        };
        let Record { key, detached, began_ms, user, summary: command, .. } = record;
        job::Job { job, key, detached, began_ms, ended_ms, user, command, state }
    }

    /// What has become of a job whose supervisor was there and has gone.
    pub fn left_behind(&self, job: JobName) -> io::Result<job::State> {
        let OldDirectory { record, state, .. } = self.directories.find(job)?;
        Ok(match state {
            State::Over(exit) => job::State::Ended(exit.end.into()),
            State::Alive(_) | State::Dead | State::NeverBegan => self.died(&record),
        })
    }

    /// What is to be said of a job that died.
    pub fn died(&self, record: &Record) -> job::State {
        job::State::Died { with_host: record.boot != self.settings.boot }
    }
}

/// Connects to a supervisor and hears how its job stands.
async fn listen(
    directory: std::os::fd::BorrowedFd<'_>,
) -> Result<(Events, Commands, OutputRange), ChannelError> {
    let (mut events, commands) = connection::halves(directory::connect(directory)?)?;
    match events.next().await? {
        Event::OutputRange(range) => Ok((events, commands, range)),
        _ => Err(ChannelError::Malformed),
    }
}
