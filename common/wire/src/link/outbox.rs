//! Control messages that wait to be sent.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use lariat_base::lock::lock;
use tokio::sync::Notify;

use super::{LinkError, message_frame};
use crate::frame::following;
use crate::memory::{Charge, Memory};
use crate::protocol::Message;

/// Most bytes that may wait: a peer that causes answers and never reads is cut off.
const LIMIT: usize = 4 * 1024 * 1024;

/// Waiting bytes that every session may have without being charged.
const FREE: usize = 64 * 1024;

/// A queue of encoded control frames. Clones share the queue.
#[derive(Clone)]
pub struct Outbox(Arc<Inner>);

struct Inner {
    queue: Mutex<Queue>,
    posted: Notify,
    memory: Memory,
    /// The number of the current request; 0 before the first.
    request: AtomicU16,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<u8>,
    /// Bytes that the writer has taken and not sent yet.
    taken: usize,
    charge: Charge,
}

impl Outbox {
    /// An empty queue on a connection with this current request. `memory` is charged for what waits.
    pub(super) fn new(memory: Memory, request: u16) -> Self {
        let queue = Mutex::new(Queue { charge: memory.charge(), ..Queue::default() });
        let (posted, request) = (Notify::default(), AtomicU16::new(request));
        Self(Arc::new(Inner { queue, posted, memory, request }))
    }

    /// The number of the current request; 0 before the first.
    pub fn request(&self) -> u16 {
        self.0.request.load(Ordering::Relaxed)
    }

    /// Moves on to the next request, and returns its number.
    pub(super) fn advance(&self) -> u16 {
        let next = following(self.request());
        self.0.request.store(next, Ordering::Relaxed);
        next
    }

    /// Opens the connection's next request with `message`. Frames that still arrive for earlier requests are
    /// dropped.
    pub fn begin<M: Message>(&self, message: &M) -> Result<(), LinkError> {
        if !M::KIND.is_session() {
            self.advance();
        }
        self.post(message)
    }

    /// The account for what the peer makes this end keep.
    pub fn memory(&self) -> &Memory {
        &self.0.memory
    }

    /// Queues a message of the current request, or of the session, without waiting.
    pub fn post<M: Message>(&self, message: &M) -> Result<(), LinkError> {
        let frame = message_frame(self.request(), message)?;
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

    /// Appends the queue to `pending`. Its bytes count as waiting until [`Outbox::sent`].
    pub(super) fn take(&self, pending: &mut Vec<u8>) {
        let mut queue = self.lock();
        queue.taken += queue.waiting.len();
        pending.append(&mut queue.waiting);
    }

    /// Reports that everything taken has been sent.
    pub(super) fn sent(&self) {
        self.lock().taken = 0;
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        lock(&self.0.queue)
    }

    /// Waits until something has been posted since the last call. Cancel-safe.
    pub(super) async fn posted(&self) {
        self.0.posted.notified().await;
    }
}
