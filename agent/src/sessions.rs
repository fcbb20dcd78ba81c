//! Everybody who is logged in: how many there may be, and how to end all of them or those of one key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lariat_common::name::{KeyId, SessionId};
use tokio::sync::watch;

/// Most sessions at a time. Each has a thread, and three or four descriptors.
pub const MOST: usize = 1024;

/// The sessions that there are. Clones are the same sessions.
#[derive(Clone)]
pub struct Sessions(Arc<Inner>);

struct Inner {
    most: usize,
    running: Mutex<HashMap<SessionId, Running>>,
    count: watch::Sender<usize>,
}

struct Running {
    key: KeyId,
    stop: watch::Sender<bool>,
}

/// A session's own place among them, given back when it is dropped.
pub struct Membership {
    sessions: Sessions,
    id: SessionId,
    stop: watch::Receiver<bool>,
}

impl Sessions {
    /// None yet, and never more than `most`.
    pub fn new(most: usize) -> Self {
        let running = Mutex::default();
        Self(Arc::new(Inner { most, running, count: watch::Sender::new(0) }))
    }

    /// A place for a new session, or `None` if there is none left.
    pub fn enter(&self, id: SessionId, key: KeyId) -> Option<Membership> {
        let (sender, stop) = watch::channel(false);
        let mut running = self.running();
        if running.len() >= self.0.most {
            return None;
        }
        running.insert(id, Running { key, stop: sender });
        self.0.count.send_replace(running.len());
        Some(Membership { sessions: self.clone(), id, stop })
    }

    /// Asks every session to end.
    pub fn stop_all(&self) {
        self.running().values().for_each(|session| _ = session.stop.send_replace(true));
    }

    /// Asks the sessions of one key to end.
    pub fn stop_key(&self, key: KeyId) {
        let running = self.running();
        let of_key = running.values().filter(|session| session.key == key);
        of_key.for_each(|session| _ = session.stop.send_replace(true));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        *self.0.count.borrow()
    }

    /// Waits until there are none.
    pub async fn ended(&self) {
        // The sender lives as long as `self`, so this can't fail.
        let _ = self.0.count.subscribe().wait_for(|&count| count == 0).await;
    }

    fn running(&self) -> MutexGuard<'_, HashMap<SessionId, Running>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Membership {
    /// Becomes true when the session is to end.
    pub fn stop(&self) -> watch::Receiver<bool> {
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

    fn enter(sessions: &Sessions, id: u8, key: u8) -> Option<Membership> {
        sessions.enter(SessionId([id; 16]), KeyId([key; 16]))
    }

    #[test]
    fn there_are_never_too_many_and_a_place_comes_back() {
        let sessions = Sessions::new(2);
        let first = enter(&sessions, 1, 1).unwrap();
        let _second = enter(&sessions, 2, 1).unwrap();
        assert!(enter(&sessions, 3, 1).is_none());
        drop(first);
        assert!(enter(&sessions, 3, 1).is_some());
        assert_eq!(sessions.count(), 1);
    }

    #[test]
    fn one_key_or_all_can_be_stopped() {
        let sessions = Sessions::new(9);
        let (first, second) = (enter(&sessions, 1, 1).unwrap(), enter(&sessions, 2, 2).unwrap());
        sessions.stop_key(KeyId([1; 16]));
        assert_eq!((*first.stop().borrow(), *second.stop().borrow()), (true, false));
        sessions.stop_all();
        assert!(*second.stop().borrow());
    }

    #[test]
    fn the_end_of_the_last_one_is_noticed_also_after_a_panic() {
        let sessions = Sessions::new(9);
        let membership = enter(&sessions, 1, 1).unwrap();
        let thread = std::thread::spawn(move || {
            let _membership = membership;
            panic!("a session fails");
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(sessions.ended());
        assert!(thread.join().is_err());
    }
}
