//! Ending a transfer from outside, at a chunk's border.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use lariat_wire::protocol::failure::Cause;

/// Shared by whoever runs a transfer and whoever may end it. Clones are the same.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Inner>);

#[derive(Default)]
struct Inner {
    cause: Mutex<Option<Cause>>,
    changed: Notify,
}

impl Cancel {
    /// Ends the transfer for this cause; the first one counts.
    pub fn cancel(&self, cause: Cause) {
        self.0.cause.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(cause);
        self.0.changed.notify_one();
    }

    /// Why the transfer must end, if it must.
    pub fn cause(&self) -> Option<Cause> {
        self.0.cause.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether they are the same.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Resolves when the transfer must end. For one waiter.
    pub async fn cancelled(&self) -> Cause {
        loop {
            if let Some(cause) = self.cause() {
                return cause;
            }
            self.0.changed.notified().await;
        }
    }
}
