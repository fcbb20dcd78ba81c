//! Which jobs' directories go because they have been kept for their time, and what all of them keep.

use std::fs;
use std::io;
use std::time::SystemTime;

use super::{Directories, RECORD};
use crate::jobs::name::JobName;
use crate::jobs::record::State;
use crate::jobs::room::Kept;

/// Since when jobs that are over are kept.
#[derive(Clone, Copy, Debug)]
pub(in crate::jobs) struct Keep {
    /// Jobs that somebody followed and nobody came back for, last heard of since.
    pub(in crate::jobs) followed_since: SystemTime,
    /// Detached jobs last heard of since.
    pub(in crate::jobs) detached_since: SystemTime,
}

impl Directories {
    /// Removes jobs that are not alive and have been kept for their time. `forget` is called before with each
    /// whose id must not be given out again. Returns how many.
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

    /// What all jobs keep.
    pub(in crate::jobs) fn kept(&self) -> io::Result<Vec<Kept>> {
        let mut all = Vec::new();
        for job in self.names()? {
            match self.kept_of(job) {
                Ok(kept) => all.push(kept),
                // It goes while we look.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Its record is written to when the job begins and when it ends, so its time is the later of the
    /// two. One that can't be read, as after a crash of the host, counts by its time alone.
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

/// One that goes while we look has been forgotten in time.
fn gone(removed: io::Result<()>) -> io::Result<usize> {
    match removed {
        Ok(()) => Ok(1),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}
