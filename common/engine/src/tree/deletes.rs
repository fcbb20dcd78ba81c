//! Names that a dry run would delete, told in messages of a bounded length, each once the one before has gone.

use tokio::sync::oneshot;

use super::shared::{Said, Shared};
use lariat_wire::protocol::tree::{Change, ChangeKind};

/// Bytes of paths in one message, about.
const MESSAGE: usize = 64 * 1024;

/// Names on their way to whoever has the network.
pub(super) struct Deletes<'a> {
    shared: &'a Shared,
    changes: Vec<Change>,
    bytes: usize,
}

impl<'a> Deletes<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self { shared, changes: Vec::new(), bytes: 0 }
    }

    /// One more, by its path below the root.
    pub(super) fn one(&mut self, path: &[u8]) {
        const BESIDE: usize = 32;
        let path = self.shared.shown(path, b"");
        self.bytes += path.len() + BESIDE;
        self.changes.push(Change { path, kind: ChangeKind::Delete });
        if self.bytes >= MESSAGE {
            self.send();
        }
    }

    /// Sends those that wait, and returns when they have been sent or nobody listens any more.
    pub(super) fn send(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        self.bytes = 0;
        if !changes.is_empty() {
            let (sent, wait) = oneshot::channel();
            self.shared.say(Said::Deletes(changes, sent));
            // Fails only when the transfer is over.
            let _ = wait.blocking_recv();
        }
    }
}
