//! The record on disk, `STATE/upgrade.json`, and what a process has to know to read it.
//!
//! Whoever reads it to change it holds a lock, so that the guard and an agent never act on the same phase.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use lariat_base::clock::{since_boot, whole_milliseconds};
use lariat_base::os_error::io_error;
use lariat_base::private;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

use super::program;
use super::record::{FORMAT, FileId, Now, Phase, Process, Record};
use crate::jobs;

const RECORD: &str = "upgrade.json";
const LOCK: &str = "upgrade.lock";

/// The record of a state directory, locked until this is dropped.
pub(super) struct Store {
    path: PathBuf,
    _lock: File,
}

impl Store {
    /// Whether there is a record. Most hosts have none.
    pub(super) fn has_record(state: &Path) -> bool {
        state.join(RECORD).exists()
    }

    /// Waits for the lock.
    pub(super) fn lock(state: &Path) -> io::Result<Self> {
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(state.join(LOCK))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        Ok(Self { path: state.join(RECORD), _lock: lock })
    }

    /// The record. One that can't be read, or is of another version, is none: it must not keep the agent from serving.
    pub(super) fn load(&self) -> Option<Record> {
        let text = private::read(&self.path).ok()?;
        serde_json::from_str::<Record>(&text).ok().filter(|record| record.format == FORMAT)
    }

    /// Writes the record to disk.
    pub(super) fn save(&self, record: &Record) -> Result<(), String> {
        let text = serde_json::to_vec(record).map_err(|error| error.to_string())?;
        private::replace(&self.path, &text).map_err(|error| error.to_string())
    }

    /// Writes that a phase begins.
    pub(super) fn enter(&self, record: &mut Record, phase: Phase) -> Result<(), String> {
        (record.phase, record.since) = (phase, milliseconds());
        self.save(record)
    }

    /// Writes how the upgrade has ended. The next agent to serve tells the audit.
    pub(super) fn settle(&self, record: &mut Record, phase: Phase) -> Result<(), String> {
        record.is_told = false;
        self.enter(record, phase)?;
        if record.phase != Phase::Confirmed {
            // One that stays does no harm.
            let _ = program::remove(&program::new(&record.program));
        }
        Ok(())
    }
}

impl Now {
    /// What this process sees.
    pub(super) fn here(program: &Path) -> io::Result<Self> {
        let me = Process::of(getpid().as_raw_nonzero().get()).ok_or(io::ErrorKind::NotFound)?;
        let (boot, ms, installed) = (jobs::boot_id()?, milliseconds(), FileId::of(program).ok());
        Ok(Self { boot, ms, me, installed })
    }
}

/// Milliseconds since the host was booted.
pub(super) fn milliseconds() -> u64 {
    whole_milliseconds(since_boot())
}

impl FileId {
    /// The file that has this name.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let metadata = path.symlink_metadata()?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Process {
    /// The process of this number, unless it has ended.
    pub(super) fn of(pid: i32) -> Option<Self> {
        Self::parse(pid, &std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Reads the process's `stat` (proc(5)), in which the program's name may have any characters.
    fn parse(pid: i32, stat: &str) -> Option<Self> {
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        let started = fields.nth(18)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(Self { pid, started })
    }

    pub(super) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Sends the process a signal, and no other that has its number meanwhile.
    pub(super) fn signal(self, signal: Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid);
        let Some(process) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
            return;
        };
        if self.is_alive()
            && let Err(error) = pidfd_send_signal(&process, signal)
        {
            tracing::warn!("the new agent can't be ended: {}", io_error(&error.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_too() {
        let tail = "S 1 2 3 0 -1 4 5 6 7 8 9 10 11 12 20 0 1 0 4711 13";
        let parse = |stat: &str| Process::parse(7, stat);
        let process = Some(Process { pid: 7, started: 4711 });
        assert_eq!(parse(&format!("7 (a) b) {tail}")), process);
        assert_eq!(parse(&format!("7 (a) {}", tail.replacen('S', "Z", 1))), None);
        for bad in ["", "7 (a", "7 (a) S 1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        let me = Process::of(getpid().as_raw_nonzero().get()).unwrap();
        assert!(me.is_alive() && !Process { started: me.started + 1, ..me }.is_alive());
    }

    #[test]
    fn a_record_that_can_t_be_read_is_none() {
        let state = crate::private_directory();
        assert!(!Store::has_record(state.path()));
        let store = Store::lock(state.path()).unwrap();
        for bad in ["", "{}", "{\"format\":1}"] {
            private::replace(&state.path().join(RECORD), bad.as_bytes()).unwrap();
            assert!(store.load().is_none(), "{bad}");
        }
    }
}
