//! What the audit's writers and the thread that syncs it share.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lariat_base::lock::lock;
use lariat_base::os_error::io_error;
use lariat_wire::protocol::audit::AuditHead;
use tracing::error;

use super::journal::Journal;
use super::line::About;
use super::refusal::Refusal;
use crate::config::{self, Sync};
use crate::folded::Folded;

/// How long is waited for the disk.
const DISK: Duration = Duration::from_secs(10);

/// How often the log repeats that lines can't be written.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// What both sides share.
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// Wakes the flusher.
    pub(super) written: Condvar,
    /// What the disk has done.
    pub(super) disk: Mutex<Disk>,
    /// Wakes those that wait for it.
    pub(super) synced: Condvar,
}

/// What the disk has done.
#[derive(Default)]
pub(super) struct Disk {
    /// The newest line on it.
    pub(super) head: AuditHead,
    /// How often it could not be synced.
    pub(super) failures: u64,
}

/// What is changed by one at a time.
pub(super) struct State {
    pub(super) journal: Journal,
    pub(super) settings: config::Audit,
    /// Refusals that are only counted.
    pub(super) refusals: Folded<Refusal>,
    /// The last attempt to sync failed.
    pub(super) is_unsyncable: bool,
    /// Somebody waits for the disk.
    pub(super) is_urgent: bool,
    /// When the log last told that lines can't be written.
    pub(super) told: Option<Instant>,
    pub(super) is_closed: bool,
}

impl Shared {
    /// A line was written: has it synced, and waits for that if that is wanted. Fails if it is, and the line is not on
    /// disk.
    pub(super) fn wrote(&self, state: MutexGuard<'_, State>, seq: u64) -> io::Result<()> {
        let (is_awaited, is_hopeless) = (state.settings.sync == Sync::Each, state.is_unsyncable);
        drop(state);
        self.written.notify_one();
        if !is_awaited {
            Ok(())
        } else if is_hopeless {
            Err(unsyncable())
        } else {
            self.wait(seq, 0)
        }
    }

    /// Waits until the line of this number is on disk, whatever fails meanwhile.
    pub(super) fn wait_for(&self, seq: u64) -> io::Result<()> {
        self.wait(seq, u64::MAX)
    }

    /// Waits until the line of this number is on disk, while no more than this many attempts fail.
    fn wait(&self, seq: u64, most: u64) -> io::Result<()> {
        lock(&self.state).is_urgent = true;
        self.written.notify_one();
        let disk = lock(&self.disk);
        let most = disk.failures.saturating_add(most);
        let is_due = |disk: &mut Disk| disk.head.seq < seq && disk.failures <= most;
        let waited = self.synced.wait_timeout_while(disk, DISK, is_due);
        let (disk, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if disk.head.seq >= seq {
            Ok(())
        } else if waited.timed_out() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Err(unsyncable())
        }
    }

    /// Shows this line as the newest one on disk.
    pub(super) fn is_on_disk(&self, head: AuditHead) {
        lock(&self.disk).head = head;
        self.synced.notify_all();
    }

    /// What was written could not be synced.
    pub(super) fn is_not_on_disk(&self) {
        lock(&self.disk).failures += 1;
        self.synced.notify_all();
    }
}

/// Why a line that was written does not count.
pub(super) fn unsyncable() -> io::Error {
    io::Error::other("it can't be synced")
}

impl State {
    pub(super) fn lost(&mut self, error: &io::Error) {
        self.tell(error);
        self.journal.lose();
    }

    pub(super) fn tell(&mut self, error: &io::Error) {
        let now = Instant::now();
        if self.told.is_none_or(|told| now - told >= TELL_AGAIN) {
            self.told = Some(now);
            let directory = self.journal.directory().display();
            error!("audit: lines can't be written to {directory}: {}", io_error(error));
        }
    }

    /// Writes the counts of refusals whose minute is over.
    pub(super) fn tell_refusals(&mut self) {
        for (refusal, count) in self.refusals.take(Instant::now()) {
            let about = About { count: Some(count), ..About::default() };
            let event = refusal.as_ref().map_or("denied", |refusal| refusal.event);
            let written = match &refusal {
                Some(refusal) => self.journal.append(event, &[refusal, &about], false),
                None => self.journal.append(event, &[&about], false),
            };
            if let Err(error) = written {
                self.lost(&error);
            }
        }
    }
}
