//! The transfers that further connections of the same key may join.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use lariat_base::lock::lock;
use lariat_base::name::{KeyId, TransferId};
use lariat_engine::{ReceiveLanes, SendLanes};
use lariat_wire::protocol::transfer::Way;

/// The lanes of a transfer, as this end sees them.
#[derive(Clone)]
pub(crate) enum TransferLanes {
    /// Of a pull.
    Sends(SendLanes),
    /// Of a push.
    Receives(ReceiveLanes),
}

/// Identifies a transfer. Nobody joins, or learns of, the transfers of another key.
type Id = (KeyId, TransferId);

/// Transfers by their ids, each with a number that no other has.
#[derive(Default)]
struct Known {
    transfers: HashMap<Id, (u64, TransferLanes)>,
    count: u64,
}

/// The transfers of an agent, or of a worker, that may be joined. Clones share their state.
#[derive(Clone, Default)]
pub struct Lanes(Arc<Mutex<Known>>);

/// Lets lanes join a transfer, until it is dropped.
pub(crate) struct Joinable {
    lanes: Lanes,
    id: Id,
    number: u64,
    of: TransferLanes,
}

impl Lanes {
    /// Lets further connections join a transfer. A transfer that its controller begins anew replaces the earlier
    /// attempt, whose connection broke.
    pub(crate) fn register(&self, key: KeyId, transfer: TransferId, of: TransferLanes) -> Joinable {
        let id = (key, transfer);
        let mut known = lock(&self.0);
        known.count += 1;
        let number = known.count;
        known.transfers.insert(id, (number, of.clone()));
        Joinable { lanes: self.clone(), id, number, of }
    }

    /// The lanes of a transfer that goes this way.
    pub(crate) fn find(&self, key: KeyId, transfer: TransferId, way: Way) -> Option<TransferLanes> {
        let known = lock(&self.0);
        let (_, found) = known.transfers.get(&(key, transfer))?;
        let goes = match found {
            TransferLanes::Sends(_) => Way::Pull,
            TransferLanes::Receives(_) => Way::Push,
        };
        (goes == way).then(|| found.clone())
    }
}

impl Drop for Joinable {
    fn drop(&mut self) {
        let mut known = lock(&self.lanes.0);
        if known.transfers.get(&self.id).is_some_and(|(number, _)| *number == self.number) {
            known.transfers.remove(&self.id);
        }
        drop(known);
        // Lanes may wait for an attempt that has never begun.
        match &self.of {
            TransferLanes::Sends(lanes) => lanes.close(),
            TransferLanes::Receives(lanes) => lanes.close(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_key_finds_a_transfer_and_only_the_way_that_it_goes() {
        let lanes = Lanes::default();
        let (ours, theirs, id) = (KeyId([1; 16]), KeyId([2; 16]), TransferId([3; 16]));
        let begin = || lanes.register(ours, id, TransferLanes::Receives(ReceiveLanes::default()));
        let is_there = |key, way| lanes.find(key, id, way).is_some();
        let first = begin();
        assert!(is_there(ours, Way::Push));
        assert!(!is_there(theirs, Way::Push) && !is_there(ours, Way::Pull));
        // The end of an attempt that was replaced is noticed late.
        let second = begin();
        drop(first);
        assert!(is_there(ours, Way::Push));
        drop(second);
        assert!(!is_there(ours, Way::Push) && lock(&lanes.0).transfers.is_empty());
    }
}
