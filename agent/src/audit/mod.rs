//! The audit: what was done on this host, as a chain of lines that nobody can change unnoticed.
//!
//! A line is written before a request is served, and another when it has ended. Lines are synced together, within
//! a fraction of a second; controllers are shown the newest line that is on disk, and remember it as witnesses.
//! A line that can't be written keeps its request from being served, unless the key is an owner's.

mod act;
mod command;
mod files;
mod flusher;
mod journal;
mod keyring;
mod line;
mod recovery;
mod refusal;
mod reserve;
mod rules;
mod state;
#[cfg(test)]
mod tests;
mod unfinished;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use lariat_base::audit::FileName;
use lariat_base::clock::rfc3339;
use lariat_base::lock::lock;
use lariat_base::os_error::io_error;
use lariat_wire::protocol::audit::{AuditHead, AuditStart};
use tracing::error;

use crate::config::{self, Config, Full};
use crate::folded::Folded;
use state::{Disk, Shared, State, unsyncable};

pub use act::Act;
pub use command::verify;
pub use line::{Digested, Kept, Part, Who, text};
pub use refusal::{FailedLogin, Refusal};
pub use unfinished::Unfinished;

/// The audit of this host.
pub struct Audit(Arc<Shared>);

/// A part of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges {
    /// The parts of its files, oldest first.
    pub ranges: Vec<Range>,
    /// The last line of them.
    pub last: AuditHead,
}

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The file.
    pub first: FileName,
    /// Its path.
    pub path: PathBuf,
    /// Where the part begins.
    pub offset: u64,
    /// Where it ends.
    pub end: u64,
}

/// The audit can't record a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CannotRecord;

impl Audit {
    /// Opens the audit in the configured state directory, and starts the thread that syncs it. Some lines are on
    /// disk when this returns. Returns also the requests whose end was not written, because an agent was killed.
    pub fn open(config: &Config) -> io::Result<(Self, Vec<Unfinished>)> {
        let (mut journal, unfinished) = recovery::open(config)?;
        let settings = config.audit.clone();
        if let Err(error) = journal.drop_old(settings.keep) {
            error!("audit: old files can't be dropped: {}", io_error(&error));
        }
        let head = journal.sync().unwrap_or_else(|error| {
            error!("audit: it can't be synced: {}", io_error(&error));
            journal.found()
        });
        let state = State {
            journal,
            settings,
            refusals: Folded::default(),
            is_unsyncable: false,
            is_urgent: false,
            told: None,
            is_closed: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            written: Condvar::new(),
            disk: Mutex::new(Disk { head, failures: 0 }),
            synced: Condvar::new(),
        });
        let flushed = Arc::clone(&shared);
        thread::Builder::new().name("audit".to_owned()).spawn(move || flusher::run(&flushed))?;
        Ok((Self(shared), unfinished))
    }

    /// The newest line on disk.
    pub fn head(&self) -> AuditHead {
        lock(&self.0.disk).head
    }

    /// Follows a reload of the configuration.
    pub fn configure(&self, settings: &config::Audit) {
        lock(&self.0.state).settings = settings.clone();
    }

    /// Writes the line of a request that is about to be served, and returns its number; `None` if the request is
    /// served without one.
    pub fn begin(&self, parts: &[&dyn Part], is_owner: bool) -> Result<Option<u64>, CannotRecord> {
        let mut state = lock(&self.0.state);
        let refuses = !is_owner && state.settings.full == Full::Refuse;
        let written = if state.is_unsyncable && refuses {
            Err(unsyncable())
        } else {
            state.journal.append("began", parts, is_owner)
        };
        match written {
            // The log tells what is wrong with the disk.
            Ok(seq) => match self.0.wrote(state, seq) {
                Err(_) if refuses => Err(CannotRecord),
                _ => Ok(Some(seq)),
            },
            Err(error) => {
                state.tell(&error);
                if refuses {
                    return Err(CannotRecord);
                }
                state.journal.lose();
                Ok(None)
            }
        }
    }

    /// Writes a line about something that has happened already.
    pub fn add(&self, event: &str, parts: &[&dyn Part]) {
        let mut state = lock(&self.0.state);
        match state.journal.append(event, parts, true) {
            // It has happened, on disk or not.
            Ok(seq) => _ = self.0.wrote(state, seq),
            Err(error) => state.lost(&error),
        }
    }

    /// Writes a line about something that is about to happen on the thread that accepts, and does not wait for the disk.
    fn note(&self, event: &str, parts: &[&dyn Part]) {
        let mut state = lock(&self.0.state);
        match state.journal.append(event, parts, true) {
            Ok(_) => self.0.written.notify_one(),
            Err(error) => state.lost(&error),
        }
    }

    /// Writes a line about a refusal, unless there was one of its kind within a minute.
    pub fn refused(&self, refusal: &Refusal, parts: &[&dyn Part]) {
        let mut state = lock(&self.0.state);
        if !state.refusals.is_news(refusal.clone(), Instant::now()) {
            return;
        }
        // Never on the reserve: anybody can be refused.
        match state.journal.append(refusal.event, parts, false) {
            // Nobody waits for the disk: a failed login is reported on the thread that accepts.
            Ok(_) => self.0.written.notify_one(),
            Err(error) => state.lost(&error),
        }
    }

    /// Drops files that have become too old. Called from time to time.
    pub fn drop_old(&self) {
        let mut state = lock(&self.0.state);
        let keep = state.settings.keep;
        if let Err(error) = state.journal.drop_old(keep) {
            error!("audit: old files can't be dropped: {}", io_error(&error));
        }
        self.0.written.notify_one();
    }

    /// The parts of the files from `from` up to the newest line, oldest first. All of them are on disk.
    pub fn ranges(&self, from: AuditStart) -> io::Result<Ranges> {
        let (directory, newest, len, last) = {
            let state = lock(&self.0.state);
            let (newest, len) = state.journal.newest().ok_or(io::ErrorKind::NotFound)?;
            (state.journal.directory().to_owned(), newest, len, state.journal.head())
        };
        self.0.wait_for(last.seq)?;
        let mut names = files::list(&directory)?;
        names.retain(|name| *name <= newest);
        let (start, offset) = match from {
            AuditStart::Oldest => (0, 0),
            AuditStart::Behind { first, offset } => {
                let start = names.partition_point(|name| name.0 < first);
                (start, if names.get(start) == Some(&FileName(first)) { offset } else { 0 })
            }
            AuditStart::Since(ms) => {
                let time = rfc3339(UNIX_EPOCH + Duration::from_millis(ms));
                (files::count_before(&directory, &names, &time), 0)
            }
        };
        let range = |(number, first): (usize, FileName)| {
            let path = directory.join(first.to_string());
            let end = if first == newest { len } else { path.metadata()?.len() };
            Ok(Range { first, path, offset: if number == 0 { offset } else { 0 }, end })
        };
        let kept = names.split_off(start.min(names.len())).into_iter().enumerate();
        Ok(Ranges { ranges: kept.map(range).collect::<io::Result<_>>()?, last })
    }

    /// Waits until everything that was written is on disk.
    pub fn sync(&self) -> io::Result<()> {
        let newest = lock(&self.0.state).journal.head();
        self.0.wait_for(newest.seq)
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        lock(&self.0.state).is_closed = true;
        self.0.written.notify_one();
    }
}
