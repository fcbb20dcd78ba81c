//! Reports the names that a dry run would delete, in messages of bounded length, each after the one before was
//! passed on.

use tokio::sync::oneshot;

use super::event::Event;
use super::shared::Shared;
use lariat_wire::protocol::tree::{Change, ChangeKind};

/// About how many bytes of paths are in one message.
const MESSAGE: usize = 64 * 1024;

/// The report.
pub(super) struct DeleteReport<'a> {
    shared: &'a Shared,
    changes: Vec<Change>,
    bytes: usize,
}

impl<'a> DeleteReport<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self { shared, changes: Vec::new(), bytes: 0 }
    }

    /// Adds a name, by its path relative to the root.
    pub(super) fn add(&mut self, path: &[u8]) {
        const OVERHEAD: usize = 32;
        let path = self.shared.shown(path, b"");
        self.bytes += path.len() + OVERHEAD;
        self.changes.push(Change { path, kind: ChangeKind::Delete });
        if self.bytes >= MESSAGE {
            self.send();
        }
    }

    /// Sends the collected names, and returns when they were passed on or the transfer is over.
    pub(super) fn send(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        self.bytes = 0;
        if !changes.is_empty() {
            let (sent, wait) = oneshot::channel();
            self.shared.report(Event::Deletes(changes, sent));
            // Fails only when the transfer is over.
            let _ = wait.blocking_recv();
        }
    }
}
