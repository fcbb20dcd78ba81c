//! A job's folder, `STATE/jobs/ID`, and what is in it:
//!
//! - `record`: whose job it is and what it runs; its end, when its controller was not there then.
//!   Locked as long as its supervisor lives.
//! - `socket`: where the supervisor listens.
//! - `stdout`, `stderr`: the tails of its output, when they do not fit in memory.
//! - `stdout.N`, `stderr.N`: the output of a detached job ([`super::log`]).
//!
//! Invariants: a folder under a job's id always has its record, for it is made under another name
//! first and renamed; it is there before the command is started, so an id that has none never ran. An
//! unlocked record without an end is of a supervisor that died, with the host or without.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lariat_common::name::JobId;
use rustix::fs::{AtFlags, FlockOperation};
use rustix::io::Errno;

use super::record::{Record, State};
use super::spool::Stream;

const RECORD: &str = "record";
const SOCKET: &str = "socket";

/// Folders that are not finished, or no more, begin with this.
const UNFINISHED: &str = ".new-";

/// A job's folder that was just made.
pub(super) struct NewFolder {
    pub(super) folder: File,
    /// Locked; the lock goes on in whoever gets this descriptor.
    pub(super) record: File,
}

/// A job's folder that was there.
pub(super) struct OldFolder {
    pub(super) folder: File,
    pub(super) record: Record,
    pub(super) state: State,
    /// When its record was written to last.
    pub(super) heard_of: Option<SystemTime>,
}

/// A job's folder that is there for nothing any more.
enum LeftOver {
    /// Of a job that somebody followed, or whose record can't be read.
    Followed,
    /// Of a detached job.
    Kept,
}

/// All jobs' folders.
pub(super) struct Folders(PathBuf);

impl Folders {
    /// Makes the folder of folders, if it is not there, and clears away what was never finished.
    pub(super) fn open(state: &Path) -> io::Result<Self> {
        let root = state.join("jobs");
        DirBuilder::new().recursive(true).mode(0o700).create(&root)?;
        for entry in fs::read_dir(&root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(Self(root))
    }

    fn path(&self, job: JobId) -> PathBuf {
        self.0.join(job.to_string())
    }

    /// Makes a job's folder. One that is there is [`io::ErrorKind::AlreadyExists`], whoever owns it.
    pub(super) fn create(&self, job: JobId, record: &Record) -> io::Result<NewFolder> {
        // Two sessions may ask for the same job at the same time.
        let unique = format!("{UNFINISHED}{job}-{:?}", std::thread::current().id());
        let new = self.0.join(unique);
        DirBuilder::new().mode(0o700).create(&new)?;
        let made = self.fill(&new, job, record);
        if made.is_err() {
            let _ = fs::remove_dir_all(&new);
        }
        made
    }

    fn fill(&self, new: &Path, job: JobId, record: &Record) -> io::Result<NewFolder> {
        let folder = File::open(new)?;
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(new.join(RECORD))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        record.write(&file)?;
        // A folder with a record in it can't be replaced by another.
        match fs::rename(new, self.path(job)) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                Err(io::ErrorKind::AlreadyExists.into())
            }
            result => result.map(|()| NewFolder { folder, record: file }),
        }
    }

    /// Opens a job's folder.
    pub(super) fn find(&self, job: JobId) -> io::Result<OldFolder> {
        let folder = File::open(self.path(job))?;
        let file = File::open(self.path(job).join(RECORD))?;
        // Looked at first: once it is unlocked, nobody writes any more. An end is the last thing that
        // a supervisor writes.
        let alive = match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => true,
            result => result.map(|()| false)?,
        };
        let (record, exit) = Record::read(&file)?;
        let state = match exit {
            Some(exit) if record.kept || !alive => State::Over(exit),
            exit if alive => State::Alive(exit),
            _ => State::Dead,
        };
        let heard_of = file.metadata()?.modified().ok();
        Ok(OldFolder { folder, record, state, heard_of })
    }

    /// The ids of all jobs, in no order.
    pub(super) fn ids(&self) -> io::Result<Vec<JobId>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            ids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<JobId>().ok()));
        }
        Ok(ids)
    }

    /// Removes jobs that are not alive and were last heard of before `before`; detached ones, which are
    /// handed to `forget` first, before `kept_before`. Returns how many.
    pub(super) fn sweep(
        &self,
        before: SystemTime,
        kept_before: SystemTime,
        forget: impl Fn(JobId) -> io::Result<()>,
    ) -> io::Result<usize> {
        let mut removed = 0;
        for job in self.ids()? {
            let swept = match self.left_over(job, before, kept_before) {
                Ok(Some(LeftOver::Kept)) => forget(job).and_then(|()| self.remove(job)),
                Ok(Some(LeftOver::Followed)) => self.remove(job),
                Ok(None) => continue,
                Err(error) => Err(error),
            };
            match swept {
                Ok(()) => removed += 1,
                // One that goes while we look has been forgotten in time.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// Its record is written to when the job begins and when it ends, so its time is the later of the
    /// two. One that can't be read, as after a crash of the host, counts by its time alone.
    fn left_over(
        &self,
        job: JobId,
        before: SystemTime,
        kept_before: SystemTime,
    ) -> io::Result<Option<LeftOver>> {
        let heard_of = fs::metadata(self.path(job).join(RECORD))?.modified()?;
        if heard_of >= before.max(kept_before) {
            return Ok(None);
        }
        let left = match self.find(job) {
            Ok(OldFolder { state: State::Alive(_), .. }) => None,
            Ok(OldFolder { record, .. }) if record.kept => {
                (heard_of < kept_before).then_some(LeftOver::Kept)
            }
            Ok(_) => (heard_of < before).then_some(LeftOver::Followed),
            Err(error) => match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                    (heard_of < before).then_some(LeftOver::Followed)
                }
                _ => return Err(error),
            },
        };
        Ok(left)
    }

    /// Forgets a job.
    pub(super) fn remove(&self, job: JobId) -> io::Result<()> {
        let path = self.path(job);
        for name in [RECORD, SOCKET, Stream::Stdout.name(), Stream::Stderr.name()] {
            match fs::remove_file(path.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::remove_dir(&path).or_else(|_| fs::remove_dir_all(&path))
    }
}

/// Binds the supervisor's socket.
pub(super) fn listen(folder: BorrowedFd<'_>) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(socket_in(folder))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Removes the supervisor's socket.
pub(super) fn unlisten(folder: BorrowedFd<'_>) {
    let _ = rustix::fs::unlinkat(folder, SOCKET, AtFlags::empty());
}

/// Connects to a job's supervisor.
pub(super) fn connect(folder: BorrowedFd<'_>) -> io::Result<UnixStream> {
    UnixStream::connect(socket_in(folder))
}

/// Short enough for a socket's name, however deep the folder is.
fn socket_in(folder: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use lariat_common::name::{BootId, KeyId};
    use lariat_common::protocol::exec::{End, Exit};

    use super::super::record::add_exit;
    use super::*;

    const JOB: JobId = JobId([7; 16]);

    fn record() -> Record {
        Record {
            version: 1,
            key: KeyId([1; 16]),
            boot: BootId([2; 16]),
            began_ms: 3,
            kept: false,
            user: None,
            summary: Record::summary(b"true"),
        }
    }

    #[test]
    fn an_id_is_given_out_once_until_it_is_forgotten() {
        let state = tempfile::tempdir().unwrap();
        let folders = Folders::open(state.path()).unwrap();
        assert_eq!(folders.find(JOB).err().unwrap().kind(), io::ErrorKind::NotFound);
        let first = folders.create(JOB, &record()).unwrap();
        let again = folders.create(JOB, &record()).err().unwrap();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_dir(state.path().join("jobs")).unwrap().count(), 1);
        drop(first);
        folders.remove(JOB).unwrap();
        folders.create(JOB, &record()).unwrap();
    }

    #[test]
    fn the_record_tells_what_became_of_it() {
        let state = tempfile::tempdir().unwrap();
        let folders = Folders::open(state.path()).unwrap();
        let made = folders.create(JOB, &record()).unwrap();
        let found = folders.find(JOB).unwrap();
        assert_eq!((found.record, found.state), (record(), State::Alive(None)));
        let exit = Exit { end: End::Exited(3), stdout: 1, stderr: 2 };
        add_exit(&made.record, &exit).unwrap();
        assert_eq!(folders.find(JOB).unwrap().state, State::Alive(Some(exit)), "it still waits");
        made.record.set_len(made.record.metadata().unwrap().len() - 1).unwrap();
        assert_eq!(folders.find(JOB).unwrap().state, State::Alive(None));
        drop(made);
        assert_eq!(folders.find(JOB).unwrap().state, State::Dead, "its end was torn");
        for kept in [false, true] {
            folders.remove(JOB).unwrap();
            let made = folders.create(JOB, &Record { kept, ..record() }).unwrap();
            add_exit(&made.record, &exit).unwrap();
            let living = if kept { State::Over(exit) } else { State::Alive(Some(exit)) };
            assert_eq!(folders.find(JOB).unwrap().state, living, "nobody need come for a kept one");
            drop(made);
            assert_eq!(folders.find(JOB).unwrap().state, State::Over(exit));
        }
        folders.remove(JOB).unwrap();
        drop(folders.create(JOB, &record()).unwrap());
        assert_eq!(folders.find(JOB).unwrap().state, State::Dead);
    }

    #[test]
    fn what_nobody_came_for_is_swept_in_time_and_what_lives_is_not() {
        let state = tempfile::tempdir().unwrap();
        let folders = Folders::open(state.path()).unwrap();
        let [alive, over, dead, torn, kept] = [1, 2, 3, 4, 5].map(|id| JobId([id; 16]));
        let forgotten = std::cell::RefCell::new(Vec::new());
        drop(folders.create(kept, &Record { kept: true, ..record() }).unwrap());
        let _running = folders.create(alive, &record()).unwrap();
        let ended = folders.create(over, &record()).unwrap();
        add_exit(&ended.record, &Exit { end: End::Exited(0), stdout: 0, stderr: 0 }).unwrap();
        drop(ended);
        drop(folders.create(dead, &record()).unwrap());
        folders.create(torn, &record()).unwrap().record.set_len(2).unwrap();
        // What began long ago ended just now.
        let now = SystemTime::now();
        let hour = std::time::Duration::from_secs(3600);
        let sweep = |before, kept| {
            folders
                .sweep(before, kept, |job| {
                    forgotten.borrow_mut().push(job);
                    Ok(())
                })
                .unwrap()
        };
        assert_eq!(sweep(now - hour, now - hour), 0);
        assert_eq!(sweep(now - hour, now + hour), 1, "each in its own time");
        assert_eq!(*forgotten.borrow(), [kept]);
        assert_eq!(sweep(now + hour, now - hour), 3);
        assert_eq!(folders.find(alive).unwrap().state, State::Alive(None));
        assert_eq!(fs::read_dir(state.path().join("jobs")).unwrap().count(), 1);
    }

    #[test]
    fn sockets_work_in_folders_deeper_than_their_names_may_be_long() {
        let state = tempfile::tempdir().unwrap();
        let deep = state.path().join("d".repeat(120));
        let folders = Folders::open(&deep).unwrap();
        let made = folders.create(JOB, &record()).unwrap();
        let listener = listen(made.folder.as_fd()).unwrap();
        connect(folders.find(JOB).unwrap().folder.as_fd()).unwrap();
        listener.accept().unwrap();
        unlisten(made.folder.as_fd());
        assert!(connect(made.folder.as_fd()).is_err());
    }
}
