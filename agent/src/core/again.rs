//! Decides again while a session or a request lasts: a key may be revoked, its rules may be narrowed, and its dates may
//! pass.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lariat_wire::protocol::request::Request;
use tokio::time::sleep;

use super::act_as::ActAs;
use super::agent::Agent;
use super::looked_up::{Known, LookedUp, at_login};
use super::session::Session;
use crate::keyring::Entry;
use crate::policy::{self, Clock, Denial, Grant, Rule};

/// The longest time until a date is looked at again: the clock may be set meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// What must stay permitted while a request is served.
pub struct Again {
    /// The key that it was decided with.
    key: Arc<Entry>,
    outline: Arc<Request>,
    act_as: ActAs,
    addresses: Vec<SocketAddr>,
    parked: bool,
}

/// The denial of a request whose key is no longer in the keyring.
pub(super) fn gone(request: &Request) -> Denial {
    let why = "it no longer has this key".to_owned();
    Denial { verb: request.verb(), rule: Rule::Keyring, why }
}

impl Again {
    pub(super) fn new(
        key: &Arc<Entry>,
        outline: &Arc<Request>,
        act_as: &ActAs,
        grant: &Grant,
    ) -> Self {
        let outline = Arc::clone(outline);
        let (act_as, addresses, parked) = (act_as.clone(), grant.addresses.clone(), grant.parked);
        Self { key: Arc::clone(key), outline, act_as, addresses, parked }
    }

    /// Waits until the request is no longer permitted. Cancel-safe.
    pub async fn denied(&self, session: &Session) -> Denial {
        let decide = |key: &Entry| {
            let Session { agent, origin, .. } = session;
            let known = Known { act_as: &self.act_as, addresses: &self.addresses };
            let looked_up = LookedUp::new(agent, Some(origin), key, &self.outline, Some(&known));
            let grant = policy::decide(key, &self.outline, &looked_up.facts())?;
            // Any of them may be the one in use.
            if grant.addresses.len() < self.addresses.len() || (self.parked && !grant.parked) {
                let (verb, why) = (self.outline.verb(), "an address is no longer in it".to_owned());
                return Err(Denial { verb, rule: Rule::Connect, why });
            }
            Ok(())
        };
        until_denied(session, &self.key, decide, || gone(&self.outline)).await
    }
}

/// Whether the key may make a request of which no session is there any longer, as it does for what it has left running.
pub fn still_permitted(agent: &Agent, key: &Entry, request: &Request) -> Result<(), Denial> {
    let looked_up = LookedUp::new(agent, None, key, request, None);
    policy::decide(key, request, &looked_up.facts()).map(drop)
}

impl Session {
    /// Waits until the key may not log in any longer. Cancel-safe.
    pub async fn barred(&self) {
        let admit = |key: &Entry| {
            let (config, clock) = (self.agent.config(), self.agent.clock());
            policy::admit(key, &at_login(&config, clock, &self.origin, key)).map_err(drop)
        };
        until_denied(self, &self.key, admit, || ()).await;
    }
}

/// Waits until `decide`, which permitted `known`, denies what the key has become.
async fn until_denied<T>(
    session: &Session,
    known: &Arc<Entry>,
    decide: impl Fn(&Entry) -> Result<(), T>,
    gone: impl Fn() -> T,
) -> T {
    let mut keyring = session.agent.keyring.subscribe();
    loop {
        keyring.mark_unchanged();
        let Some(key) = session.present_key() else { return gone() };
        let is_known = Arc::ptr_eq(&key, known) && key.is_current(session.agent.clock());
        if !is_known && let Err(denied) = decide(&key) {
            return denied;
        }
        tokio::select! {
            // The sender is the agent's, which the session holds.
            _ = keyring.changed() => {}
            () = sleep(until_next_date(&key, session.agent.clock())) => {}
        }
    }
}

/// The time until a key's end has passed, as long as that is worth waiting for.
pub fn until_next_date(key: &Entry, clock: Clock) -> Duration {
    let Some(end) = key.not_after else { return Duration::MAX };
    let left = end.duration_since(clock.now).unwrap_or_default();
    left.saturating_add(Duration::from_millis(1)).min(LOOK_AGAIN)
}
