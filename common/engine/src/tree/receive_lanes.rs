//! The shared state of the connections of a tree's receiver.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use lariat_base::lock::lock;

use super::arrivals::Arrivals;
use crate::lanes::{Lanes, Ticket, Work};

/// A tree that is received over several connections.
pub(crate) struct ReceiveTree {
    arrivals: Arc<Arrivals>,
    gate: Arc<Gate>,
}

/// Counts the lanes that are receiving a content.
#[derive(Default)]
struct Gate {
    inside: Mutex<usize>,
    left: Condvar,
}

/// Allows a lane to receive a content. The end of the tree waits until it is dropped.
pub(super) struct Inside {
    // Dropped before the gate: once the lane has left it uses nothing of the tree.
    arrivals: Option<Arc<Arrivals>>,
    gate: Arc<Gate>,
}

impl Work for ReceiveTree {
    fn enter(&mut self, _lane: Ticket) {
        self.arrivals.has_lane();
    }

    fn leave(&mut self, _lane: Ticket) {}
}

impl ReceiveTree {
    /// Begins a content.
    pub(super) fn enter(&self) -> Inside {
        *lock(&self.gate.inside) += 1;
        Inside { arrivals: Some(Arc::clone(&self.arrivals)), gate: Arc::clone(&self.gate) }
    }
}

impl Inside {
    pub(super) fn arrivals(&self) -> &Arrivals {
        self.arrivals.as_ref().expect("it is there until the drop")
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.arrivals = None;
        *lock(&self.gate.inside) -= 1;
        self.gate.left.notify_all();
    }
}

/// The lanes of one attempt, as its first connection sees them. A drop ends them, and waits until they have
/// stopped receiving.
pub(super) struct OpenLanes {
    lanes: Lanes<ReceiveTree>,
    gate: Arc<Gate>,
}

impl OpenLanes {
    /// Allows lanes to join.
    pub(super) fn new(lanes: Lanes<ReceiveTree>, arrivals: Arc<Arrivals>) -> Self {
        let gate = Arc::<Gate>::default();
        lanes.open(ReceiveTree { arrivals, gate: Arc::clone(&gate) });
        Self { lanes, gate }
    }
}

impl Drop for OpenLanes {
    fn drop(&mut self) {
        self.lanes.close();
        let mut inside = lock(&self.gate.inside);
        while *inside > 0 {
            inside = self.gate.left.wait(inside).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
