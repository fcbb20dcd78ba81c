//! Finds existing jobs for the key that they belong to. Other keys can't tell that they exist.

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

/// How often to retry connecting to a supervisor that does not listen yet, and for how long.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
const LOOK_FOR: Duration = Duration::from_secs(5);

/// A job that was found.
pub struct Found {
    /// The job's name.
    pub name: JobName,
    /// The job's record.
    pub record: Record,
    /// The job's directory, which contains its output if it is detached.
    pub directory: OwnedFd,
    /// The job's status.
    pub status: JobStatus,
}

/// The status of a job that was found.
pub enum JobStatus {
    /// It runs. The supervisor sends its current state again. A session that does not send `Follow` only
    /// observes the job.
    Alive(Events, Commands, OutputRange),
    /// It ended, and its exit is in the record.
    Over(exec::Exit),
    /// It died with its supervisor or with the host.
    Dead,
}

impl Jobs {
    /// Finds a job, only of this key if one is given. Requires a tokio runtime.
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
                    // The supervisor does not listen yet, or has stopped listening.
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

    /// The job with this id, of any key. Another key may have copied the id, so a running job comes before one
    /// that ended, and an older job before a newer one.
    fn of_any_key(&self, id: JobId) -> io::Result<Option<JobName>> {
        let mut names = self.directories.names()?;
        names.retain(|name| name.id == id);
        let began = |name: &JobName| self.directories.find(*name).map(|job| job.record.began_ms);
        Ok(names
            .into_iter()
            .min_by_key(|name| (!self.is_alive(*name), began(name).unwrap_or(u64::MAX))))
    }

    /// All jobs whose ids begin with these digits, only of this key if one is given, the oldest first.
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
                // The job was removed meanwhile, or a crash of the host destroyed its record.
                Ok(_) | Err(_) => {}
            }
        }
        jobs.sort_by_key(|job| (job.began_ms, job.job));
        Ok(jobs)
    }

    fn listed(&self, job: JobId, found: OldDirectory) -> job::Job {
        let OldDirectory { record, state, modified_at, .. } = found;
        let (state, ended_ms) = match state {
            State::Alive(None) => (job::State::Running, None),
            // The supervisor last writes to the record when the command has ended.
            State::Alive(Some(exit)) | State::Over(exit) => {
                (job::State::Ended(exit.end.into()), modified_at.map(milliseconds))
            }
            State::Dead | State::NeverBegan => (self.died(&record), None),
        };
        let Record { key, detached, began_ms, user, summary: command, .. } = record;
        job::Job { job, key, detached, began_ms, ended_ms, user, command, state }
    }

    /// The state of a job whose supervisor has disconnected.
    pub fn left_behind(&self, job: JobName) -> io::Result<job::State> {
        let OldDirectory { record, state, .. } = self.directories.find(job)?;
        Ok(match state {
            State::Over(exit) => job::State::Ended(exit.end.into()),
            State::Alive(_) | State::Dead | State::NeverBegan => self.died(&record),
        })
    }

    /// The state of a job that died.
    pub fn died(&self, record: &Record) -> job::State {
        job::State::Died { with_host: record.boot != self.settings().boot }
    }
}

/// Connects to a supervisor and receives the range of its job's output.
async fn listen(
    directory: std::os::fd::BorrowedFd<'_>,
) -> Result<(Events, Commands, OutputRange), ChannelError> {
    let (mut events, commands) = connection::halves(directory::connect(directory)?)?;
    match events.next().await? {
        Event::OutputRange(range) => Ok((events, commands, range)),
        _ => Err(ChannelError::Malformed),
    }
}
