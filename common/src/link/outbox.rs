//! Control messages on their way out.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::{LinkError, message_frame};
use crate::protocol::Message;

/// Bytes that may wait: a peer that makes us answer and never reads is cut off, not stored for.
const LIMIT: usize = 4 * 1024 * 1024;

/// A queue of encoded control frames. Clones are the same queue.
#[derive(Clone, Default)]
pub struct Outbox(Arc<Inner>);

#[derive(Default)]
struct Inner {
    queue: Mutex<Vec<u8>>,
    posted: Notify,
}

impl Outbox {
    /// Queues a message without waiting.
    pub fn post<M: Message>(&self, message: &M) -> Result<(), LinkError> {
        let frame = message_frame(message)?;
        let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() + frame.len() > LIMIT {
            return Err(LinkError::Misbehaved("it makes us answer and does not read"));
        }
        queue.extend_from_slice(&frame);
        drop(queue);
        self.0.posted.notify_one();
        Ok(())
    }

    /// Moves what waits behind `pending`.
    pub(super) fn take(&self, pending: &mut Vec<u8>) {
        let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        pending.append(&mut queue);
    }

    /// Resolves once something was posted since the last time.
    pub(super) async fn posted(&self) {
        self.0.posted.notified().await;
    }
}
