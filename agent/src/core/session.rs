//! A logged-in connection as data: what requests may know of the session that they came by.

use std::cell::RefCell;
use std::sync::Arc;

use lariat_base::escape::escape;
use lariat_base::name::SessionId;
use lariat_wire::memory::{Charge, Memory};
use lariat_wire::protocol::failure::Failure;
use tokio::sync::watch;
use tracing::Span;

use super::agent::Agent;
use crate::budget::Holder;
use crate::keyring::Entry;
use crate::transport::Origin;

/// One session.
pub struct Session {
    /// Names the session in both ends' logs.
    pub id: SessionId,
    /// The key that logged in, as it was then. What it may do is looked up anew for each request.
    pub key: Arc<Entry>,
    /// Where the controller's bytes come from.
    pub origin: Origin,
    /// What it has in common with every other session.
    pub agent: Arc<Agent>,
    /// Becomes true when the session is to end soon, because the agent stops or the key was revoked.
    pub stop: watch::Receiver<bool>,
    /// Whose share of the budget the session's requests draw from.
    pub holder: Holder,
    /// What the key's requests may keep.
    pub memory: Memory,
    /// For what the session's own buffers have become by its requests.
    buffers: RefCell<Charge>,
    /// Every line that is logged on the session's thread is in it.
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

    /// Counts buffers of this many bytes, for as long as the session is there: they stay.
    pub(super) fn charge(&self, bytes: usize) -> Result<(), Failure> {
        Ok(self.buffers.borrow_mut().at_least(bytes)?)
    }

    /// The key as the keyring has it now; `None` if it has been taken out. A key of the local socket is in
    /// no keyring.
    pub(super) fn present_key(&self) -> Option<Arc<Entry>> {
        match self.origin {
            Origin::Local { .. } => Some(Arc::clone(&self.key)),
            Origin::Tcp(_) => self.agent.keyring().entry(self.key.id).cloned(),
        }
    }

    /// Whether the session is to end.
    pub fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until the session is to end. Cancelling it loses nothing.
    pub async fn stopped(&self) {
        if self.stop.clone().wait_for(|&stop| stop).await.is_err() {
            // Nobody is left who could ask for it.
            std::future::pending::<()>().await;
        }
    }
}
