//! Cancels a transfer from outside, between two chunks.

use std::sync::{Arc, Mutex};

use lariat_base::lock::lock;
use tokio::sync::Notify;

use lariat_wire::protocol::failure::Cause;

/// A handle to cancel a transfer. Clones share their state.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Inner>);

#[derive(Default)]
struct Inner {
    cause: Mutex<Option<Cause>>,
    changed: Notify,
}

impl Cancel {
    /// Cancels the transfer. Only the first cause counts.
    pub fn cancel(&self, cause: Cause) {
        lock(&self.0.cause).get_or_insert(cause);
        self.0.changed.notify_one();
    }

    /// Why the transfer was cancelled, if it was.
    pub fn cause(&self) -> Option<Cause> {
        lock(&self.0.cause).clone()
    }

    /// Whether both handles share their state.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Resolves when the transfer is cancelled. For one waiter.
    pub async fn cancelled(&self) -> Cause {
        loop {
            if let Some(cause) = self.cause() {
                return cause;
            }
            self.0.changed.notified().await;
        }
    }
}
