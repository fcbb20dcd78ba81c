//! Which jobs' directories go, and when: those that have been kept for their time, and of those that nobody came
//! for the oldest, when they are too many or too large together.

use std::fs;
use std::io;
use std::time::SystemTime;

use lariat_base::name::JobId;

use super::{Directories, OldDirectory, RECORD};
use crate::jobs::record::State;

/// What is kept of jobs that are over.
#[derive(Clone, Copy, Debug)]
pub(in crate::jobs) struct Keep {
    /// Jobs that somebody followed and nobody came back for, last heard of since.
    pub(in crate::jobs) followed_since: SystemTime,
    /// Detached jobs last heard of since.
    pub(in crate::jobs) detached_since: SystemTime,
    /// Most jobs that nobody came back for.
    pub(in crate::jobs) unfetched: usize,
    /// Most bytes on disk of all of them.
    pub(in crate::jobs) unfetched_bytes: u64,
}

/// A job's directory that may go.
enum LeftOver {
    /// Of a job that somebody followed, or whose record can't be read; last heard of then.
    Followed(SystemTime),
    /// Of a detached job.
    Detached(SystemTime),
}

impl Directories {
    /// Removes jobs that are not alive and are not to be kept. `forget` is called before with each whose id must
    /// not be given out again. Returns how many.
    pub(in crate::jobs) fn sweep(
        &self,
        keep: Keep,
        forget: impl Fn(JobId) -> io::Result<()>,
    ) -> io::Result<usize> {
        let mut removed = 0;
        let mut unfetched = Vec::new();
        for job in self.ids()? {
            let swept = match self.left_over(job) {
                Ok(Some(LeftOver::Detached(heard_of))) if heard_of < keep.detached_since => {
                    forget(job).and_then(|()| self.remove(job))
                }
                Ok(Some(LeftOver::Followed(heard_of))) if heard_of < keep.followed_since => {
                    self.remove(job)
                }
                Ok(Some(LeftOver::Followed(heard_of))) => {
                    unfetched.push((heard_of, job));
                    continue;
                }
                Ok(_) => continue,
                Err(error) => Err(error),
            };
            removed += gone(swept)?;
        }
        // The newest first, as long as there is room for them.
        unfetched.sort_unstable_by(|one, other| other.cmp(one));
        let mut bytes = 0;
        for (number, (_, job)) in unfetched.into_iter().enumerate() {
            bytes += self.size(job);
            if number >= keep.unfetched || bytes > keep.unfetched_bytes {
                removed += gone(forget(job).and_then(|()| self.remove(job)))?;
            }
        }
        Ok(removed)
    }

    /// Its record is written to when the job begins and when it ends, so its time is the later of the
    /// two. One that can't be read, as after a crash of the host, counts by its time alone.
    fn left_over(&self, job: JobId) -> io::Result<Option<LeftOver>> {
        let heard_of = fs::metadata(self.path(job).join(RECORD))?.modified()?;
        Ok(match self.find(job) {
            Ok(OldDirectory { state: State::Alive(_), .. }) => None,
            Ok(OldDirectory { record, .. }) if record.detached => {
                Some(LeftOver::Detached(heard_of))
            }
            Ok(_) => Some(LeftOver::Followed(heard_of)),
            Err(error) => match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                    Some(LeftOver::Followed(heard_of))
                }
                _ => return Err(error),
            },
        })
    }

    /// Bytes on disk of what is in a job's directory.
    fn size(&self, job: JobId) -> u64 {
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
