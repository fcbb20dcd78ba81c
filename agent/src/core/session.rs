//! An authenticated connection as data: what requests may know of their session.

use std::cell::RefCell;
use std::sync::Arc;

use lariat_base::escape::escape;
use lariat_base::name::{JobId, SessionId};
use lariat_wire::memory::{Charge, Memory};
use lariat_wire::protocol::failure::Failure;
use tokio::sync::watch;
use tracing::Span;

use super::agent::Agent;
use crate::budget::Holder;
use crate::jobs::JobName;
use crate::keyring::Entry;
use crate::transport::Origin;

/// One session.
pub struct Session {
    /// Identifies the session in both ends' logs.
    pub id: SessionId,
    /// The key as it was at the login. Its permissions are looked up anew for each request.
    pub key: Arc<Entry>,
    /// Where the controller's bytes come from.
    pub origin: Origin,
    /// What all sessions share.
    pub agent: Arc<Agent>,
    /// Becomes true when the session is to end soon, because the agent stops or the key was revoked.
    pub stop: watch::Receiver<bool>,
    /// The holder to which the session's requests are charged.
    pub holder: Holder,
    /// The memory account of the key's requests.
    pub memory: Memory,
    /// The charge for the session's buffers, which its requests have made grow.
    buffers: RefCell<Charge>,
    /// The span of every line that is logged on the session's thread.
    pub span: Span,
}

impl Session {
    /// A session of `key`, which has logged in.
    pub fn new(
        id: SessionId,
        key: Arc<Entry>,
        origin: Origin,
        agent: &Arc<Agent>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let label = escape(key.label.as_bytes());
        let span = tracing::info_span!("session", %id, key = %label, peer = %origin);
        let holder = Holder::of(&key);
        let memory = agent.budget.memory(holder);
        let buffers = RefCell::new(memory.charge());
        Self { id, key, origin, agent: Arc::clone(agent), stop, holder, memory, buffers, span }
    }

    /// Charges buffers of this many bytes for the rest of the session: they do not shrink.
    pub(super) fn charge(&self, bytes: usize) -> Result<(), Failure> {
        Ok(self.buffers.borrow_mut().at_least(bytes)?)
    }

    /// The key as it is now; `None` if the keyring no longer has it. A local key is in no keyring, and never
    /// changes.
    pub(super) fn present_key(&self) -> Option<Arc<Entry>> {
        match self.origin {
            Origin::Local { .. } => Some(Arc::clone(&self.key)),
            Origin::Tcp(_) => self.agent.keyring().entry(self.key.id).cloned(),
        }
    }

    /// The job of this id that is the key's own.
    pub fn job(&self, id: JobId) -> JobName {
        JobName { key: self.key.id, id }
    }

    /// Whether the session is to end.
    pub fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until the session is to end. Cancel-safe.
    pub async fn stopped(&self) {
        if self.stop.clone().wait_for(|&stop| stop).await.is_err() {
            // The sender is gone, so no request to stop can come.
            std::future::pending::<()>().await;
        }
    }
}
