//! A job's directory, `STATE/jobs/KEY-ID`, and what is in it:
//!
//! - `record`: whose job it is and what it runs; that its command was about to be started; its end, when its
//!   controller was not there then. Locked as long as its supervisor watches over it.
//! - `socket`: where the supervisor listens.
//! - `stdout`, `stderr`: the tails of its output, when they do not fit in memory.
//! - `stdout.N`, `stderr.N`: the output of a detached job ([`super::log`]).
//!
//! Invariants: a directory under a job's name always has its record, for it is made under another name
//! first and renamed; it is there before the command is started, so an id that has none never ran. An
//! unlocked record without an end is of a supervisor that died, with the host or without. One of this boot
//! that does not even say that the command was about to be started never ran, and its id is free.

mod sweep;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lariat_base::name::{BootId, KeyId};
use rustix::fs::{AtFlags, FlockOperation};
use rustix::io::Errno;

use super::name::JobName;
use super::record::{Progress, Record, State};
use super::stream::Stream;

pub(super) use sweep::Keep;

const RECORD: &str = "record";
const SOCKET: &str = "socket";

/// Stands for the key of a job whose record can't be read.
const NOBODY: KeyId = KeyId([0; 16]);

/// Directories that are not finished, or no more, begin with this.
const UNFINISHED: &str = ".new-";

/// A job's directory that was just made.
pub(super) struct NewDirectory {
    pub(super) directory: File,
    /// Locked; the lock goes on in whoever gets this descriptor.
    pub(super) record: File,
}

/// A job's directory that was there.
pub(super) struct OldDirectory {
    pub(super) directory: File,
    pub(super) record: Record,
    pub(super) state: State,
    /// When its record was written to last.
    pub(super) heard_of: Option<SystemTime>,
}

/// All jobs' directories.
pub(super) struct Directories {
    root: PathBuf,
    /// The host's boot.
    boot: BootId,
}

impl Directories {
    /// Makes the directory of directories, if it is not there, and clears away what was never finished.
    /// Directories that an earlier version has named by their jobs' ids alone get their names.
    pub(super) fn open(state: &Path, boot: BootId) -> io::Result<Self> {
        let root = state.join("jobs");
        DirBuilder::new().recursive(true).mode(0o700).create(&root)?;
        for entry in fs::read_dir(&root)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(UNFINISHED) {
                let _ = fs::remove_dir_all(entry.path());
            } else if let Ok(id) = name.parse() {
                let name = JobName { key: key_of(&entry.path()), id };
                // A supervisor that is in it has it open, and needs no name.
                let _ = fs::rename(entry.path(), root.join(name.to_string()));
            }
        }
        Ok(Self { root, boot })
    }

    fn path(&self, job: JobName) -> PathBuf {
        self.root.join(job.to_string())
    }

    /// Makes a job's directory. One that is there is [`io::ErrorKind::AlreadyExists`].
    pub(super) fn create(&self, job: JobName, record: &Record) -> io::Result<NewDirectory> {
        // Two sessions may ask for the same job at the same time.
        let unique = format!("{UNFINISHED}{job}-{:?}", std::thread::current().id());
        let new = self.root.join(unique);
        DirBuilder::new().mode(0o700).create(&new)?;
        let made = self.fill(&new, job, record);
        if made.is_err() {
            let _ = fs::remove_dir_all(&new);
        }
        made
    }

    fn fill(&self, new: &Path, job: JobName, record: &Record) -> io::Result<NewDirectory> {
        let directory = File::open(new)?;
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(new.join(RECORD))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        record.write(&file)?;
        // A directory with a record in it can't be replaced by another.
        let mut renamed = fs::rename(new, self.path(job));
        if is_taken(&renamed) {
            // Locked until ours stands in its place, so that two requests can't both take it for free.
            let _never_began = self.remove_unbegun(job)?;
            renamed = fs::rename(new, self.path(job));
        }
        if is_taken(&renamed) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        renamed.map(|()| NewDirectory { directory, record: file })
    }

    /// Removes a job that never ran. Its record, which is locked, or [`io::ErrorKind::AlreadyExists`] if it
    /// may have run.
    fn remove_unbegun(&self, job: JobName) -> io::Result<File> {
        let taken = || io::Error::from(io::ErrorKind::AlreadyExists);
        let path = self.path(job).join(RECORD);
        let file = File::open(&path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| taken())?;
        let (record, progress) = Record::read(&file).map_err(|_| taken())?;
        let is_there = fs::metadata(&path)?.ino() == file.metadata()?.ino();
        if !is_there || self.state(&record, progress, false) != State::NeverBegan {
            return Err(taken());
        }
        self.remove(job)?;
        Ok(file)
    }

    fn state(&self, record: &Record, Progress { began, exit }: Progress, alive: bool) -> State {
        match exit {
            Some(exit) if record.detached || !alive => State::Over(exit),
            exit if alive => State::Alive(exit),
            // After a crash of the host, what the record does not say may have been lost with it.
            _ if !began && record.boot == self.boot => State::NeverBegan,
            _ => State::Dead,
        }
    }

    /// Opens a job's directory.
    pub(super) fn find(&self, job: JobName) -> io::Result<OldDirectory> {
        let directory = File::open(self.path(job))?;
        let file = File::open(self.path(job).join(RECORD))?;
        // Looked at first: once it is unlocked, nobody writes any more. An end is the last thing that
        // a supervisor writes.
        let alive = match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => true,
            result => result.map(|()| false)?,
        };
        let (record, progress) = Record::read(&file)?;
        let state = self.state(&record, progress, alive);
        let heard_of = file.metadata()?.modified().ok();
        Ok(OldDirectory { directory, record, state, heard_of })
    }

    /// The names of all jobs, in no order.
    pub(super) fn names(&self) -> io::Result<Vec<JobName>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            names.extend(entry?.file_name().to_str().and_then(|name| name.parse::<JobName>().ok()));
        }
        Ok(names)
    }

    /// Forgets a job.
    pub(super) fn remove(&self, job: JobName) -> io::Result<()> {
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

/// Whose job a directory is of, as its record says. One that can't be read, as after a crash of the host, is
/// nobody's.
fn key_of(directory: &Path) -> KeyId {
    let read = File::open(directory.join(RECORD)).and_then(|file| Record::read(&file));
    read.map_or(NOBODY, |(record, _)| record.key)
}

fn is_taken(renamed: &io::Result<()>) -> bool {
    renamed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::DirectoryNotEmpty)
}

/// Binds the supervisor's socket.
pub(super) fn listen(directory: BorrowedFd<'_>) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(socket_in(directory))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Removes the supervisor's socket.
pub(super) fn unlisten(directory: BorrowedFd<'_>) {
    let _ = rustix::fs::unlinkat(directory, SOCKET, AtFlags::empty());
}

/// Connects to a job's supervisor.
pub(super) fn connect(directory: BorrowedFd<'_>) -> io::Result<UnixStream> {
    UnixStream::connect(socket_in(directory))
}

/// Short enough for a socket's name, however deep the directory is.
fn socket_in(directory: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()))
}

#[cfg(test)]
mod tests;
