//! The sessions that run: counts them, and asks all of them to end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use lariat_base::lock::lock;
use lariat_base::name::{KeyId, SessionId};
use lariat_wire::protocol::failure::Cause;
use tokio::sync::watch;

use crate::budget::Share;

/// The sessions that run. Clones share their state.
#[derive(Clone)]
pub(super) struct Sessions(Arc<Inner>);

struct Inner {
    running: Mutex<HashMap<SessionId, Running>>,
    count: watch::Sender<usize>,
    /// Every session was asked to end, and so is each that begins. Changed while `running` is locked.
    are_stopped: AtomicBool,
}

struct Running {
    /// The id that the key logged in with.
    login: KeyId,
    /// How the session is asked to end.
    stop: watch::Sender<Option<Cause>>,
}

/// Registers one session, until it is dropped.
pub(super) struct Membership {
    sessions: Sessions,
    id: SessionId,
    stop: watch::Sender<Option<Cause>>,
    _share: Share,
}

impl Default for Sessions {
    fn default() -> Self {
        let running = Mutex::default();
        let are_stopped = AtomicBool::new(false);
        Self(Arc::new(Inner { running, count: watch::Sender::new(0), are_stopped }))
    }
}

impl Sessions {
    /// Registers a new session of the key that logged in with this id, which holds this share of the budget.
    pub(super) fn enter(&self, id: SessionId, login: KeyId, share: Share) -> Membership {
        let mut running = self.running();
        let are_stopped = self.0.are_stopped.load(Ordering::Relaxed);
        let stop = watch::Sender::new(are_stopped.then_some(Cause::Stopping));
        running.insert(id, Running { login, stop: stop.clone() });
        self.0.count.send_replace(running.len());
        drop(running);
        Membership { sessions: self.clone(), id, stop, _share: share }
    }

    /// Asks every session to end, also those that begin from now on.
    pub(super) fn stop_all(&self) {
        let running = self.running();
        self.0.are_stopped.store(true, Ordering::Relaxed);
        stop(&running, |_| true);
    }

    /// Asks the sessions of some keys to end, by the ids that they logged in with.
    pub(super) fn stop_where(&self, is_meant: impl Fn(KeyId) -> bool) {
        stop(&self.running(), is_meant);
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

fn stop(running: &HashMap<SessionId, Running>, is_meant: impl Fn(KeyId) -> bool) {
    let meant = running.values().filter(|session| is_meant(session.login));
    meant.for_each(|session| _ = session.stop.send_replace(Some(Cause::Stopping)));
}

impl Membership {
    /// How the session is asked to end.
    pub(super) fn stop(&self) -> watch::Sender<Option<Cause>> {
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
        let key = KeyId([key; 16]);
        let share = budget.take(Holder::unknown(key), Resource::Session, 1).ok()?;
        Some(sessions.enter(SessionId([id; 16]), key, share))
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
        let held: Vec<_> = (1..3).map(|id| enter(&sessions, &budget, id, id).unwrap()).collect();
        assert!(held.iter().all(|one| one.stop().borrow().is_none()));
        sessions.stop_where(|login| login == KeyId([1; 16]));
        let is_stopped = |number: usize| held[number].stop().borrow().is_some();
        assert!(is_stopped(0) && !is_stopped(1));
        sessions.stop_all();
        let later = enter(&sessions, &budget, 3, 3).unwrap();
        let all = held.iter().chain([&later]);
        assert!(all.into_iter().all(|one| *one.stop().borrow() == Some(Cause::Stopping)));
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
