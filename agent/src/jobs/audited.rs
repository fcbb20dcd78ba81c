//! What is kept of jobs that no session follows: what the audit is to say at their end, and what has to stay permitted.

use std::io;
use std::time::{Duration, SystemTime};

use lariat_wire::protocol::exec::Exit;

use super::name::JobName;
use super::record::State;
use super::start::Jobs;
use super::unattended::Unattended;

/// A job whose end is to be written into the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unaudited {
    /// What the audit is to say of it.
    pub text: Vec<u8>,
    /// How it ended; `None` if its supervisor or the host died.
    pub exit: Option<Exit>,
    /// How long it ran, if that is known.
    pub took: Option<Duration>,
}

impl Jobs {
    /// The jobs, running or not, of whose end the audit knows nothing yet.
    pub fn unaudited(&self) -> io::Result<Vec<JobName>> {
        let mut names = self.directories.names()?;
        names.retain(|&job| !matches!(self.directories.audit(job), Ok(None)));
        Ok(names)
    }

    /// What is to be written of the end of this job; `None` if it runs.
    pub fn ended_unaudited(&self, job: JobName) -> io::Result<Option<Unaudited>> {
        let found = self.directories.find(job)?;
        let exit = match found.state {
            State::Alive(_) => return Ok(None),
            State::Over(exit) => Some(exit.into()),
            State::Dead | State::NeverBegan => None,
        };
        let text = self.directories.audit(job)?.ok_or(io::ErrorKind::NotFound)?;
        // The supervisor last writes to the record when the command has ended.
        let began = SystemTime::UNIX_EPOCH + Duration::from_millis(found.record.began_ms);
        let ended = found.modified_at.filter(|_| exit.is_some());
        let took = ended.map(|at| at.duration_since(began).unwrap_or_default());
        Ok(Some(Unaudited { text, exit, took }))
    }

    /// Keeps what is needed to know of this job while no session follows it. Fails with [`io::ErrorKind::AlreadyExists`]
    /// if it is kept already.
    pub fn keep(&self, job: JobName, Unattended { audit, request }: &Unattended) -> io::Result<()> {
        request.iter().try_for_each(|request| self.directories.keep_request(job, request))?;
        self.directories.keep_audit(job, audit)
    }

    /// The request that started this job, if it was kept.
    pub fn request(&self, job: JobName) -> Option<Vec<u8>> {
        self.directories.request(job)
    }

    /// Keeps what the audit is to say at the end of this job.
    pub fn keep_audit(&self, job: JobName, text: &[u8]) -> io::Result<()> {
        self.directories.keep_audit(job, text)
    }

    /// The audit has the end of this job.
    pub fn audited(&self, job: JobName) -> io::Result<()> {
        self.directories.audited(job)
    }
}
