//! The transfers that are under way: the newest request of a key for a destination ends an older one
//! and takes over its partial.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use lariat_common::protocol::failure::Cause;
use lariat_common::transfer::Cancel;
use lariat_common::transfer::destination::PlaceId;

/// Names a partial: the folder that it is in, and its name there.
type Key = (PlaceId, String);

/// The transfers that write to this host. Clones are the same.
#[derive(Clone, Default)]
pub struct Transfers(Arc<Mutex<HashMap<Key, Cancel>>>);

/// One of them, until it is dropped.
pub struct Running {
    transfers: Transfers,
    key: Key,
    /// Ends it.
    pub cancel: Cancel,
}

impl Transfers {
    /// Begins a transfer into a partial, and tells the one that has it to stop.
    pub fn begin(&self, place: PlaceId, partial: String) -> Running {
        let key = (place, partial);
        let cancel = Cancel::default();
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(older) = running.insert(key.clone(), cancel.clone()) {
            older.cancel(Cause::Superseded);
        }
        drop(running);
        Running { transfers: self.clone(), key, cancel }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.transfers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if running.get(&self.key).is_some_and(|newest| newest.is(&self.cancel)) {
            running.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_ends_the_older_and_others_are_left_alone() {
        let transfers = Transfers::default();
        let begin = |name: &str| transfers.begin(PlaceId::default(), name.to_owned());
        let (first, other) = (begin("a"), begin("b"));
        let second = begin("a");
        assert_eq!(first.cancel.cause(), Some(Cause::Superseded));
        drop(first);
        let third = begin("a");
        assert_eq!(second.cancel.cause(), Some(Cause::Superseded));
        assert_eq!((other.cancel.cause(), third.cancel.cause()), (None, None));
        drop((second, third, other));
        assert!(transfers.0.lock().unwrap().is_empty());
    }
}
