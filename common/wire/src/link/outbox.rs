//! Control messages on their way out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{LinkError, message_frame};
use crate::memory::{Charge, Memory};
use crate::protocol::Message;

/// Bytes that may wait: a peer that makes us answer and never reads is cut off, not stored for.
const LIMIT: usize = 4 * 1024 * 1024;

/// Of them, bytes that are part of every session and not counted against its peer.
const FREE: usize = 64 * 1024;

/// A queue of encoded control frames. Clones are the same queue.
#[derive(Clone, Default)]
pub struct Outbox(Arc<Inner>);

#[derive(Default)]
struct Inner {
    queue: Mutex<Queue>,
    posted: Notify,
    memory: Memory,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<u8>,
    /// Bytes that were taken to be sent, and are not.
    taken: usize,
    charge: Charge,
}

impl Outbox {
    /// An empty one, for a peer that may make us keep so much.
    pub(super) fn new(memory: Memory) -> Self {
        let queue = Queue { charge: memory.charge(), ..Queue::default() };
        Self(Arc::new(Inner { queue: Mutex::new(queue), posted: Notify::default(), memory }))
    }

    /// What the peer may make us keep.
    pub fn memory(&self) -> &Memory {
        &self.0.memory
    }

    /// Queues a message without waiting.
    pub fn post<M: Message>(&self, message: &M) -> Result<(), LinkError> {
        let frame = message_frame(message)?;
        let mut queue = self.lock();
        let kept = queue.waiting.len() + queue.taken + frame.len();
        let charged = kept.saturating_sub(FREE);
        if kept > LIMIT || queue.charge.at_least(charged).is_err() {
            return Err(LinkError::Misbehaved("it makes us answer and does not read"));
        }
        queue.waiting.extend_from_slice(&frame);
        drop(queue);
        self.0.posted.notify_one();
        Ok(())
    }

    /// Moves what waits behind `pending`, where it counts until [`Outbox::sent`].
    pub(super) fn take(&self, pending: &mut Vec<u8>) {
        let mut queue = self.lock();
        queue.taken += queue.waiting.len();
        pending.append(&mut queue.waiting);
    }

    /// Whatever was taken has been sent.
    pub(super) fn sent(&self) {
        self.lock().taken = 0;
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves once something was posted since the last time.
    pub(super) async fn posted(&self) {
        self.0.posted.notified().await;
    }
}
