//! The sessions that run: counts them, and ends all of them or those of revoked keys.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use lariat_base::lock::lock;
use lariat_base::name::{KeyId, SessionId};
use tokio::sync::watch;

use crate::budget::Share;
use crate::keyring::is_local;

/// The sessions that run. Clones share their state.
#[derive(Clone)]
pub(super) struct Sessions(Arc<Inner>);

struct Inner {
    running: Mutex<HashMap<SessionId, Running>>,
    count: watch::Sender<usize>,
}

struct Running {
    key: KeyId,
    stop: watch::Sender<bool>,
}

/// Registers one session, until it is dropped.
pub(super) struct Membership {
    sessions: Sessions,
    id: SessionId,
    stop: watch::Receiver<bool>,
    _share: Share,
}

impl Default for Sessions {
    fn default() -> Self {
        let running = Mutex::default();
        Self(Arc::new(Inner { running, count: watch::Sender::new(0) }))
    }
}

impl Sessions {
    /// Registers a new session, which holds this share of the budget.
    pub(super) fn enter(&self, id: SessionId, share: Share) -> Membership {
        let (sender, stop) = watch::channel(false);
        let mut running = self.running();
        running.insert(id, Running { key: share.key(), stop: sender });
        self.0.count.send_replace(running.len());
        drop(running);
        Membership { sessions: self.clone(), id, stop, _share: share }
    }

    /// Asks every session to end.
    pub(super) fn stop_all(&self) {
        self.running().values().for_each(|session| _ = session.stop.send_replace(true));
    }

    /// Asks the sessions of keys that are no longer permitted to end. Sessions from this host itself stay.
    pub(super) fn stop_unless(&self, is_permitted: impl Fn(KeyId) -> bool) {
        let running = self.running();
        let ended =
            running.values().filter(|session| !is_local(session.key) && !is_permitted(session.key));
        ended.for_each(|session| _ = session.stop.send_replace(true));
    }

    /// The number of sessions.
    pub(super) fn count(&self) -> usize {
        *self.0.count.borrow()
    }

    /// Waits until no session is left.
    pub(super) async fn ended(&self) {
        // The sender lives as long as `self`, so this can't fail.
        let _ = self.0.count.subscribe().wait_for(|&count| count == 0).await;
    }

    fn running(&self) -> MutexGuard<'_, HashMap<SessionId, Running>> {
        lock(&self.0.running)
    }
}

impl Membership {
    /// Becomes true when the session is to end.
    pub(super) fn stop(&self) -> watch::Receiver<bool> {
        self.stop.clone()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut running = self.sessions.running();
        running.remove(&self.id);
        self.sessions.0.count.send_replace(running.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Budget, Holder, Limits, Resource};

    fn enter(sessions: &Sessions, budget: &Budget, id: u8, key: u8) -> Option<Membership> {
        let holder = Holder::unknown(KeyId([key; 16]));
        let share = budget.take(holder, Resource::Session, 1).ok()?;
        Some(sessions.enter(SessionId([id; 16]), share))
    }

    fn budget() -> Budget {
        Budget::new(Limits { sessions: 8, jobs: 1, memory: 1 })
    }

    #[test]
    fn there_are_never_too_many_and_a_place_comes_back() {
        let (sessions, budget) = (Sessions::default(), budget());
        let mut held: Vec<_> = (0..4).map(|id| enter(&sessions, &budget, id, 1).unwrap()).collect();
        assert!(enter(&sessions, &budget, 9, 1).is_none());
        held.pop();
        held.extend(enter(&sessions, &budget, 9, 1));
        assert_eq!((held.len(), sessions.count()), (4, 4));
    }

    #[test]
    fn one_key_or_all_can_be_stopped() {
        let (sessions, budget) = (Sessions::default(), budget());
        let enter = |id, key| enter(&sessions, &budget, id, key).unwrap();
        let (first, second) = (enter(1, 1), enter(2, 2));
        sessions.stop_unless(|key| key != KeyId([1; 16]));
        assert_eq!((*first.stop().borrow(), *second.stop().borrow()), (true, false));
        sessions.stop_all();
        assert!(*second.stop().borrow());
    }

    #[test]
    fn the_end_of_the_last_one_is_noticed_also_after_a_panic() {
        let (sessions, budget) = (Sessions::default(), budget());
        let membership = enter(&sessions, &budget, 1, 1).unwrap();
        let thread = std::thread::spawn(move || {
            let _membership = membership;
            panic!("a session fails");
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(sessions.ended());
        assert!(thread.join().is_err());
        assert_eq!(budget.used(Resource::Session), 0);
    }
}
