//! Removes jobs' directories whose retention time is over, and lists what all of them occupy.

use std::fs;
use std::io;
use std::time::SystemTime;

use super::{Directories, RECORD};
use crate::jobs::name::JobName;
use crate::jobs::record::State;
use crate::jobs::room::Kept;

/// Jobs that ended before these times are removed.
#[derive(Clone, Copy, Debug)]
pub(in crate::jobs) struct Keep {
    /// For jobs that a controller followed, but whose result no controller fetched.
    pub(in crate::jobs) followed_since: SystemTime,
    /// For detached jobs.
    pub(in crate::jobs) detached_since: SystemTime,
}

impl Directories {
    /// Removes jobs that are not running and whose retention time is over. `forget` is called before the
    /// removal of each job whose id must not be used again. Returns how many were removed.
    pub(in crate::jobs) fn sweep(
        &self,
        keep: Keep,
        forget: impl Fn(JobName) -> io::Result<()>,
    ) -> io::Result<usize> {
        let mut removed = 0;
        for kept in self.kept()?.iter().filter(|kept| !kept.is_alive) {
            if kept.is_detached && kept.at < keep.detached_since {
                removed += gone(forget(kept.job).and_then(|()| self.remove(kept.job)))?;
            } else if !kept.is_detached && kept.at < keep.followed_since {
                removed += gone(self.remove(kept.job))?;
            }
        }
        Ok(removed)
    }

    /// What every job occupies.
    pub(in crate::jobs) fn kept(&self) -> io::Result<Vec<Kept>> {
        let mut all = Vec::new();
        for job in self.names()? {
            match self.kept_of(job) {
                Ok(kept) => all.push(kept),
                // The job was removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// A record is written to when the job begins and when it ends, so its modification time is the later of
    /// the two. A job whose record is unreadable, as after a crash of the host, is kept by that time alone.
    fn kept_of(&self, job: JobName) -> io::Result<Kept> {
        let at = fs::metadata(self.path(job).join(RECORD))?.modified()?;
        let bytes = self.size(job);
        let unread = Kept { job, is_detached: false, is_alive: false, at, bytes };
        match self.find(job) {
            Ok(found) => Ok(Kept {
                is_detached: found.record.detached,
                is_alive: matches!(found.state, State::Alive(_)),
                ..unread
            }),
            Err(error) => match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Ok(unread),
                _ => Err(error),
            },
        }
    }

    /// Bytes on disk of what is in a job's directory.
    fn size(&self, job: JobName) -> u64 {
        let entries = fs::read_dir(self.path(job)).into_iter().flatten().flatten();
        entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
    }
}

/// Counts a removal; a job that another thread removed meanwhile is not an error.
fn gone(removed: io::Result<()>) -> io::Result<usize> {
    match removed {
        Ok(()) => Ok(1),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}
