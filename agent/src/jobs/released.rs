//! The ids of jobs whose controllers have everything: their directories are gone, but a request that was
//! under way all the time, on a connection that broke long ago, must not run one of them again.
//!
//! Ids are kept in two generations, in memory and in a file each. When the newer one is full it
//! becomes the older one, and what that was is forgotten: nothing grows, and the newest
//! [`GENERATION`] ids are always there.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use lariat_base::lock::lock;
use lariat_base::name::JobId;

/// Ids in a full generation. More than there can be requests under way, many times over.
const GENERATION: usize = 32 * 1024;

/// Bytes of an id in a file.
const ID: usize = 16;

/// Ids that are not given out again.
pub(super) struct Released(Mutex<Generations>);

struct Generations {
    size: usize,
    directory: PathBuf,
    file: File,
    newer: HashSet<JobId>,
    older: HashSet<JobId>,
}

impl Released {
    /// Reads what earlier runs of the agent have left in its state directory.
    pub(super) fn open(state: &Path) -> io::Result<Self> {
        Self::of_size(state, GENERATION)
    }

    fn of_size(state: &Path, size: usize) -> io::Result<Self> {
        let older = match read(&older(state), size) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => HashSet::new(),
            ids => ids?,
        };
        let file = append(&newer(state))?;
        let newer = read(&newer(state), size)?;
        // A crash may have left a part of an id: what comes next must stand where ids stand.
        file.set_len((newer.len() * ID) as u64)?;
        Ok(Self(Mutex::new(Generations { size, directory: state.to_owned(), file, newer, older })))
    }

    /// Whether a job of this id was released.
    pub(super) fn contains(&self, job: JobId) -> bool {
        let generations = lock(&self.0);
        generations.newer.contains(&job) || generations.older.contains(&job)
    }

    /// Keeps an id. It is kept in memory also when the file can't be written.
    pub(super) fn add(&self, job: JobId) -> io::Result<()> {
        let mut generations = lock(&self.0);
        let mut made_room = Ok(());
        if generations.newer.len() >= generations.size {
            generations.older = std::mem::take(&mut generations.newer);
            made_room = generations.begin_file();
        }
        let written = generations.write(job);
        generations.newer.insert(job);
        made_room.and(written)
    }
}

impl Generations {
    fn begin_file(&mut self) -> io::Result<()> {
        fs::rename(newer(&self.directory), older(&self.directory))?;
        self.file = append(&newer(&self.directory))?;
        Ok(())
    }

    /// An id goes into the file at one stroke or not at all, as long as the disk has room.
    fn write(&mut self, job: JobId) -> io::Result<()> {
        if self.newer.contains(&job) { Ok(()) } else { self.file.write_all(&job.0) }
    }
}

fn newer(state: &Path) -> PathBuf {
    state.join("released")
}

fn older(state: &Path) -> PathBuf {
    state.join("released.old")
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// The ids in a file, as many as a generation has.
fn read(path: &Path, most: usize) -> io::Result<HashSet<JobId>> {
    let mut bytes = Vec::new();
    File::open(path)?.take((most * ID) as u64).read_to_end(&mut bytes)?;
    let (ids, _torn) = bytes.as_chunks::<ID>();
    Ok(ids.iter().copied().map(JobId).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> JobId {
        JobId([number; ID])
    }

    #[test]
    fn the_newest_ids_are_kept_also_when_the_agent_starts_again() {
        let state = tempfile::tempdir().unwrap();
        for round in 0..2 {
            let released = Released::of_size(state.path(), 4).unwrap();
            for number in 0..23 {
                released.add(id(number)).unwrap();
                for kept in number.saturating_sub(3)..=number {
                    assert!(released.contains(id(kept)), "{kept} of {number}, round {round}");
                }
            }
            assert!(!released.contains(id(10)), "nothing grows");
        }
        let again = Released::of_size(state.path(), 4).unwrap();
        assert!((19..23).all(|number| again.contains(id(number))));
        assert!(!again.contains(id(0)));
    }

    #[test]
    fn a_torn_id_spoils_no_other() {
        let state = tempfile::tempdir().unwrap();
        Released::open(state.path()).unwrap().add(id(1)).unwrap();
        append(&newer(state.path())).unwrap().write_all(&[2; 7]).unwrap();
        Released::open(state.path()).unwrap().add(id(3)).unwrap();
        let again = Released::open(state.path()).unwrap();
        assert!(again.contains(id(1)) && again.contains(id(3)) && !again.contains(id(2)));
    }
}
