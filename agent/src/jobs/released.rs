//! The names of jobs whose controllers have everything: their directories are gone, but a request that was
//! under way all the time, on a connection that broke long ago, must not run one of them again.
//!
//! Names are kept in two generations, in memory and in a file each. When the newer one is full it
//! becomes the older one, and what that was is forgotten: nothing grows, and the newest
//! [`GENERATION`] names are always there.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use lariat_base::lock::lock;
use lariat_base::name::JobId;

use super::name::JobName;

/// Names in a full generation. More than there can be requests under way, many times over.
const GENERATION: usize = 32 * 1024;

const NEWER: &str = "released.jobs";
const OLDER: &str = "released.jobs.old";

/// Where earlier versions have kept ids alone, without their keys. They are forgotten with the first generation.
const IDS: [&str; 2] = ["released", "released.old"];

/// Names that are not given out again.
pub(super) struct Released(Mutex<Generations>);

struct Generations {
    size: usize,
    directory: PathBuf,
    file: File,
    newer: HashSet<JobName>,
    older: HashSet<JobName>,
    ids: HashSet<JobId>,
}

impl Released {
    /// Reads what earlier runs of the agent have left in its state directory.
    pub(super) fn open(state: &Path) -> io::Result<Self> {
        Self::of_size(state, GENERATION)
    }

    fn of_size(state: &Path, size: usize) -> io::Result<Self> {
        let file = append(&state.join(NEWER))?;
        let names = |name| read(&state.join(name), size);
        let (newer, older) = (names(NEWER)?, names(OLDER)?);
        // A crash may have left a part of a name: what comes next must stand where names stand.
        file.set_len((newer.len() * JobName::LEN) as u64)?;
        let [newer, older] = [newer, older]
            .map(|names| names.into_iter().map(JobName::from_bytes).collect::<HashSet<JobName>>());
        let mut ids = HashSet::new();
        for name in IDS {
            ids.extend(read(&state.join(name), size)?.into_iter().map(JobId));
        }
        let directory = state.to_owned();
        Ok(Self(Mutex::new(Generations { size, directory, file, newer, older, ids })))
    }

    /// Whether this job was released.
    pub(super) fn contains(&self, job: JobName) -> bool {
        let generations = lock(&self.0);
        generations.newer.contains(&job)
            || generations.older.contains(&job)
            || generations.ids.contains(&job.id)
    }

    /// Keeps a name. It is kept in memory also when the file can't be written.
    pub(super) fn add(&self, job: JobName) -> io::Result<()> {
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
        self.ids = HashSet::new();
        for name in IDS {
            let _ = fs::remove_file(self.directory.join(name));
        }
        fs::rename(self.directory.join(NEWER), self.directory.join(OLDER))?;
        self.file = append(&self.directory.join(NEWER))?;
        Ok(())
    }

    /// A name goes into the file at one stroke or not at all, as long as the disk has room.
    fn write(&mut self, job: JobName) -> io::Result<()> {
        if self.newer.contains(&job) { Ok(()) } else { self.file.write_all(&job.to_bytes()) }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// What is in a file, as much as a generation has; nothing if there is no file.
fn read<const N: usize>(path: &Path, most: usize) -> io::Result<Vec<[u8; N]>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        file => {
            file?.take((most * N) as u64).read_to_end(&mut bytes)?;
        }
    }
    let (whole, _torn) = bytes.as_chunks::<N>();
    Ok(whole.to_vec())
}

#[cfg(test)]
mod tests {
    use lariat_base::name::KeyId;

    use super::*;

    fn job(number: u8) -> JobName {
        JobName { key: KeyId([200; 16]), id: JobId([number; 16]) }
    }

    #[test]
    fn the_newest_ids_are_kept_also_when_the_agent_starts_again() {
        let state = tempfile::tempdir().unwrap();
        for round in 0..2 {
            let released = Released::of_size(state.path(), 4).unwrap();
            for number in 0..23 {
                released.add(job(number)).unwrap();
                for kept in number.saturating_sub(3)..=number {
                    assert!(released.contains(job(kept)), "{kept} of {number}, round {round}");
                }
            }
            assert!(!released.contains(job(10)), "nothing grows");
        }
        let again = Released::of_size(state.path(), 4).unwrap();
        assert!((19..23).all(|number| again.contains(job(number))));
        assert!(!again.contains(job(0)));
    }

    #[test]
    fn a_torn_id_spoils_no_other() {
        let state = tempfile::tempdir().unwrap();
        Released::open(state.path()).unwrap().add(job(1)).unwrap();
        append(&state.path().join(NEWER)).unwrap().write_all(&[2; 17]).unwrap();
        Released::open(state.path()).unwrap().add(job(3)).unwrap();
        let again = Released::open(state.path()).unwrap();
        assert!(again.contains(job(1)) && again.contains(job(3)) && !again.contains(job(2)));
    }

    #[test]
    fn a_name_is_one_keys_and_what_an_earlier_version_has_written_is_everybodys() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join("released"), [7; 16]).unwrap();
        let released = Released::of_size(state.path(), 4).unwrap();
        let other = |number| JobName { key: KeyId([100; 16]), ..job(number) };
        released.add(job(1)).unwrap();
        assert!(released.contains(job(1)) && !released.contains(other(1)));
        assert!(released.contains(job(7)) && released.contains(other(7)));
        for number in 1..6 {
            released.add(job(number)).unwrap();
        }
        assert!(!released.contains(job(7)) && !state.path().join("released").exists());
    }
}
