//! How much output of a key's detached jobs is kept: when there is no room for another job, the output
//! of those that ended longest ago goes before its time.

use std::fs::File;
use std::io;
use std::time::SystemTime;

use lariat_base::name::{JobId, KeyId};

use super::record::State;
use super::start::Jobs;
use super::stream::Stream;

/// A detached job that is over, and what it keeps.
struct Ended {
    at: Option<SystemTime>,
    job: JobId,
    bytes: u64,
}

impl Jobs {
    /// Makes room for one more detached job of this key, so that all of its jobs keep no more than
    /// `most` bytes; a job that runs counts as what it may come to keep. Gives whether there is room.
    pub fn make_room(&self, key: KeyId, most: u64) -> io::Result<bool> {
        let each = self.settings.log_limit.saturating_mul(2);
        let (mut running, mut ended) = (0_u64, Vec::new());
        for job in self.directories.ids()? {
            // One that can't be read, or goes while we look, keeps nothing that could be told.
            let Ok(found) = self.directories.find(job) else { continue };
            if found.record.key != key || !found.record.detached {
                continue;
            }
            if matches!(found.state, State::Alive(..)) {
                running = running.saturating_add(each);
            } else {
                ended.push(Ended { at: found.heard_of, job, bytes: kept(&found.directory) });
            }
        }
        // A single job always fits.
        let most = most.max(each);
        let Some(room) = most.checked_sub(running).and_then(|room| room.checked_sub(each)) else {
            return Ok(false);
        };
        for job in too_old(ended, room) {
            self.release(job)?;
        }
        Ok(true)
    }
}

/// Bytes of output in a job's directory.
fn kept(directory: &File) -> u64 {
    let mut bytes = 0;
    for entry in rustix::fs::Dir::read_from(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let streams = [Stream::Stdout, Stream::Stderr];
        if streams.iter().any(|stream| name.to_bytes().starts_with(stream.name().as_bytes()))
            && let Ok(stat) = rustix::fs::statat(directory, name, rustix::fs::AtFlags::empty())
        {
            bytes += u64::try_from(stat.st_size).unwrap_or_default();
        }
    }
    bytes
}

/// Which of them go, the oldest first, so that the others keep no more than `room` bytes.
fn too_old(mut ended: Vec<Ended>, room: u64) -> impl Iterator<Item = JobId> {
    ended.sort_by_key(|ended| (ended.at, ended.job));
    let mut sum = ended.iter().map(|ended| ended.bytes).fold(0, u64::saturating_add);
    ended.into_iter().map_while(move |ended| {
        let goes = sum > room;
        sum = sum.saturating_sub(ended.bytes);
        goes.then_some(ended.job)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_oldest_go_until_the_others_fit() {
        let ended = || {
            let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            [(30, 3, 100), (10, 1, 50), (20, 2, 0)]
                .map(|(seconds, id, bytes)| Ended { at: at(seconds), job: JobId([id; 16]), bytes })
                .into()
        };
        let gone = |room| too_old(ended(), room).map(|job| job.0[0]).collect::<Vec<_>>();
        assert_eq!(gone(150), []);
        assert_eq!(gone(149), [1]);
        assert_eq!(gone(100), [1]);
        assert_eq!(gone(99), [1, 2, 3]);
        assert_eq!(gone(0), [1, 2, 3]);
    }
}
