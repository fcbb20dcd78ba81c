//! A job's directory, `STATE/jobs/KEY-ID`, and its files:
//!
//! - `record`: which key the job belongs to and what it runs; a mark before its command is started; its exit,
//!   unless a controller received it. The supervisor holds a lock on it while it runs.
//! - `socket`: where the supervisor listens.
//! - `stdout`, `stderr`: the tails of its output, when they do not fit in memory.
//! - `stdout.N`, `stderr.N`: the output of a detached job ([`super::log`]).
//! - `audit`: what the audit is to say at the end of a job that no session follows, until it has said that.
//!
//! Invariants: a directory with a job's name always contains its record, because it is created under a
//! temporary name and renamed; it exists before the command is started, so a job without a directory never ran.
//! An unlocked record without an exit belongs to a supervisor that died, alone or with the host. If such a
//! record is of this boot and lacks the mark that precedes the command's start, the command never ran and the
//! id is free.

mod sweep;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
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

pub(super) use sweep::Keep;

const RECORD: &str = "record";
const SOCKET: &str = "socket";
const AUDIT: &str = "audit";
const REQUEST: &str = "request";

/// Stands for the key of a job whose record is unreadable.
const NOBODY: KeyId = KeyId([0; 16]);

/// Prefix of directories that are being created.
const UNFINISHED: &str = ".new-";

/// A job's directory that was just created.
pub(super) struct NewDirectory {
    pub(super) directory: File,
    /// Locked; the lock lasts until every copy of this descriptor is closed.
    pub(super) record: File,
}

/// A job's directory that existed.
pub(super) struct OldDirectory {
    pub(super) directory: File,
    pub(super) record: Record,
    pub(super) state: State,
    /// When its record was last written to.
    pub(super) modified_at: Option<SystemTime>,
}

/// The directories of all jobs.
pub(super) struct Directories {
    root: PathBuf,
    /// The host's current boot.
    boot: BootId,
}

impl Directories {
    /// Creates the jobs' root directory, if it does not exist, and removes unfinished directories. Directories
    /// that earlier versions named by the job's id alone are renamed.
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
                // A supervisor that runs in it holds it open, and does not need its name.
                let _ = fs::rename(entry.path(), root.join(name.to_string()));
            }
        }
        Ok(Self { root, boot })
    }

    fn path(&self, job: JobName) -> PathBuf {
        self.root.join(job.to_string())
    }

    /// Creates a job's directory. Fails with [`io::ErrorKind::AlreadyExists`] if the job exists.
    pub(super) fn create(&self, job: JobName, record: &Record) -> io::Result<NewDirectory> {
        // Two sessions may create the same job at the same time.
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
        // `rename` does not replace a directory that contains a record.
        let mut renamed = fs::rename(new, self.path(job));
        if is_taken(&renamed) {
            // Holds the old record's lock until the new directory is in place, so two requests can't both use
            // the free id.
            let _never_began = self.remove_unbegun(job)?;
            renamed = fs::rename(new, self.path(job));
        }
        if is_taken(&renamed) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        renamed.map(|()| NewDirectory { directory, record: file })
    }

    /// Removes a job that never ran. Returns its locked record, or fails with [`io::ErrorKind::AlreadyExists`]
    /// if the job may have run.
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
            // After a crash of the host, later parts of the record may be lost.
            _ if !began && record.boot == self.boot => State::NeverBegan,
            _ => State::Dead,
        }
    }

    /// Opens a job's directory.
    pub(super) fn find(&self, job: JobName) -> io::Result<OldDirectory> {
        let directory = File::open(self.path(job))?;
        let file = File::open(self.path(job).join(RECORD))?;
        // The lock is tested first: once it is free, the record no longer changes. Its exit is the last thing
        // that a supervisor writes.
        let alive = match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => true,
            result => result.map(|()| false)?,
        };
        let (record, progress) = Record::read(&file)?;
        let state = self.state(&record, progress, alive);
        let modified_at = file.metadata()?.modified().ok();
        Ok(OldDirectory { directory, record, state, modified_at })
    }

    /// The names of all jobs, in no particular order.
    pub(super) fn names(&self) -> io::Result<Vec<JobName>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            names.extend(entry?.file_name().to_str().and_then(|name| name.parse::<JobName>().ok()));
        }
        Ok(names)
    }

    /// Keeps the request that started the job. Whoever comes second changes nothing.
    pub(super) fn keep_request(&self, job: JobName, request: &[u8]) -> io::Result<()> {
        match write_new(&self.path(job).join(REQUEST), request) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            written => written,
        }
    }

    /// The request that started the job, if it was kept.
    pub(super) fn request(&self, job: JobName) -> Option<Vec<u8>> {
        fs::read(self.path(job).join(REQUEST)).ok()
    }

    /// Keeps what the audit is to say at the job's end. Fails with [`io::ErrorKind::AlreadyExists`] if it knows.
    pub(super) fn keep_audit(&self, job: JobName, text: &[u8]) -> io::Result<()> {
        write_new(&self.path(job).join(AUDIT), text)
    }

    /// What the audit is to say at the job's end; `None` if it has said that, or has nothing to say.
    pub(super) fn audit(&self, job: JobName) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(job).join(AUDIT)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The audit has said it.
    pub(super) fn audited(&self, job: JobName) -> io::Result<()> {
        fs::remove_file(self.path(job).join(AUDIT))
    }

    /// Removes a job's directory.
    pub(super) fn remove(&self, job: JobName) -> io::Result<()> {
        let path = self.path(job);
        match fs::remove_file(path.join(RECORD)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Most have nothing else.
        fs::remove_dir(&path).or_else(|_| fs::remove_dir_all(&path))
    }
}

/// Writes a new file, all of it or none.
fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(content);
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

/// The key in a directory's record, or [`NOBODY`] if the record is unreadable, as after a crash of the host.
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

/// A path that is short enough for a socket address, however deep the directory is.
fn socket_in(directory: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()))
}

#[cfg(test)]
mod tests;
