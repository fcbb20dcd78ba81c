//! An authenticated connection as data: what requests may know of their session.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use lariat_base::escape::escape;
use lariat_base::name::{JobId, KeyId, SessionId};
use lariat_wire::memory::{Charge, Memory};
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::hello::TELLS_NOTES;
use lariat_wire::protocol::verb::Verb;
use tokio::sync::watch;
use tracing::Span;

use super::agent::Agent;
use crate::budget::Holder;
use crate::identity::Identity;
use crate::jobs::JobName;
use crate::keyring::Entry;
use crate::transport::Origin;

/// One session.
pub struct Session {
    /// Identifies the session in both ends' logs.
    pub id: SessionId,
    /// The id that the key logged in with. The keyring may give the key another one meanwhile.
    pub login: KeyId,
    /// The key as it was at the login. Its permissions are looked up anew for each request.
    pub key: Arc<Entry>,
    /// Where the controller's bytes come from.
    pub origin: Origin,
    /// The features that both ends have.
    pub features: u64,
    /// The certificate that the connection was made with, if it has TLS.
    pub identity: Option<Arc<Identity>>,
    /// What all sessions share.
    pub agent: Arc<Agent>,
    /// Why the session, or the request that it serves, is to end soon: because the agent stops, or because the request
    /// is no longer permitted.
    pub stop: watch::Sender<Option<Cause>>,
    /// The holder to which the session's requests are charged.
    pub holder: Holder,
    /// The memory account of the key's requests.
    pub memory: Memory,
    /// The charge for the session's buffers, which its requests have made grow.
    buffers: RefCell<Charge>,
    /// Whether the controller has been sent the end of the request.
    pub is_answered: Cell<bool>,
    /// The span of every line that is logged on the session's thread.
    pub span: Span,
}

impl Session {
    /// A session of `key`, which has logged in.
    pub fn new(
        id: SessionId,
        login: KeyId,
        key: Arc<Entry>,
        origin: Origin,
        agent: &Arc<Agent>,
        stop: watch::Sender<Option<Cause>>,
    ) -> Self {
        let label = escape(key.label.as_bytes());
        let span = tracing::info_span!("session", %id, key = %label, peer = %origin);
        let holder = Holder::of(&key);
        let memory = agent.budget.memory(holder);
        let buffers = RefCell::new(memory.charge());
        let (agent, is_answered, identity) = (Arc::clone(agent), Cell::new(false), None);
        let features = 0;
        Self {
            id,
            login,
            key,
            origin,
            features,
            identity,
            agent,
            stop,
            holder,
            memory,
            buffers,
            is_answered,
            span,
        }
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
            Origin::Tcp(_) | Origin::Gateway { .. } => {
                let keyring = self.agent.keyring();
                // A key that was replaced meanwhile is the same to what is under way; the session is asked to end.
                keyring.entry(self.login).or_else(|| keyring.replaced(self.login)).cloned()
            }
        }
    }

    /// The id under which what the key keeps on this host is known.
    pub fn owner(&self) -> KeyId {
        self.key.owner
    }

    /// Whether the controller is on this host, without a key.
    pub(super) fn is_local(&self) -> bool {
        self.origin.is_local()
    }

    /// Whether the controller may be told of notes while it follows a login shell.
    pub fn may_be_told(&self) -> bool {
        let is_permitted = self.present_key().is_some_and(|key| key.verbs.contains(Verb::Status));
        self.features & TELLS_NOTES != 0 && is_permitted
    }

    /// The job of this id that is the key's own.
    pub fn job(&self, id: JobId) -> JobName {
        JobName { key: self.owner(), id }
    }

    /// Why the session, or the request that it serves, is to end, if it is.
    pub fn stop_cause(&self) -> Option<Cause> {
        self.stop.borrow().clone()
    }

    /// Whether the session, or the request that it serves, is to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.borrow().is_some()
    }

    /// Waits until the session, or the request that it serves, is to end. Cancel-safe.
    pub async fn stopped(&self) {
        // The sender is this session's own.
        let _ = self.stop.subscribe().wait_for(Option::is_some).await;
    }

    /// Ends the request that is served, unless the whole session is to end.
    pub fn end_request(&self, cause: Cause) {
        self.stop.send_if_modified(|stop| stop.is_none() && stop.replace(cause).is_none());
    }

    /// Lets the next request begin after [`Self::end_request`].
    pub fn request_ended(&self) {
        self.stop
            .send_if_modified(|stop| stop.take_if(|cause| *cause != Cause::Stopping).is_some());
    }
}
