//! The thread that syncs the audit: the lines of a moment together, so that the disk is asked rarely however many
//! requests there are.

use std::sync::Condvar;
use std::sync::{MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lariat_base::lock::lock;
use lariat_base::os_error::io_error;
use tracing::error;

use super::journal::sync;
use super::state::{Shared, State};

/// How long the first line waits for others.
const GATHER: Duration = Duration::from_millis(20);

/// The pause after a failed sync.
const AGAIN: Duration = Duration::from_secs(1);

/// Syncs until the audit is closed.
pub(super) fn run(shared: &Shared) {
    let mut state = lock(&shared.state);
    loop {
        state.tell_refusals();
        if !state.journal.is_dirty() {
            if state.is_closed {
                return;
            }
            let due = state.refusals.due();
            state = wait(&shared.written, state, due);
            continue;
        }
        if !state.is_urgent && !state.is_closed {
            drop(state);
            sleep(GATHER);
            state = lock(&shared.state);
        }
        state.is_urgent = false;
        let (files, head) = state.journal.take_unsynced();
        drop(state);
        let synced = sync(&files);
        state = lock(&shared.state);
        state.is_unsyncable = synced.is_err();
        match synced {
            Ok(()) => shared.is_on_disk(head),
            Err(error) => {
                error!("audit: it can't be synced: {}", io_error(&error));
                shared.is_not_on_disk();
                state.journal.not_synced(files);
                if state.is_closed {
                    return;
                }
                drop(state);
                sleep(AGAIN);
                state = lock(&shared.state);
            }
        }
    }
}

/// Waits until something is written or `due` has come.
fn wait<'a>(
    written: &Condvar,
    state: MutexGuard<'a, State>,
    due: Option<Instant>,
) -> MutexGuard<'a, State> {
    match due {
        None => written.wait(state).unwrap_or_else(PoisonError::into_inner),
        Some(due) => {
            let left = due.saturating_duration_since(Instant::now());
            written.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
        }
    }
}
