//! The observer of a lane, which passes events on to the thread of the first connection, which has the caller's
//! observer.

use super::watch::{Side, Watch};
use crate::progress::Again;
use lariat_wire::protocol::failure::{Failure, FileKind};
use lariat_wire::protocol::tree::Change;

/// An event for the caller's observer.
pub(super) type Told = Box<dyn FnOnce(&dyn Watch) + Send>;

/// Passes events on.
pub(super) struct LaneWatch<F: Fn(Told)>(pub(super) F);

impl<F: Fn(Told)> Watch for LaneWatch<F> {
    fn listed(&self, bytes: u64) {
        (self.0)(Box::new(move |watch| watch.listed(bytes)));
    }

    fn had(&self, bytes: u64) {
        (self.0)(Box::new(move |watch| watch.had(bytes)));
    }

    fn moved(&self, bytes: u64) {
        (self.0)(Box::new(move |watch| watch.moved(bytes)));
    }

    fn again(&self, why: Again, chunks: u64) {
        (self.0)(Box::new(move |watch| watch.again(why, chunks)));
    }

    fn missed(&self, failure: &Failure, side: Side) {
        let failure = failure.clone();
        (self.0)(Box::new(move |watch| watch.missed(&failure, side)));
    }

    fn skipped(&self, path: &[u8], kind: FileKind) {
        let path = path.to_vec();
        (self.0)(Box::new(move |watch| watch.skipped(&path, kind)));
    }

    fn acl_dropped(&self, path: &[u8]) {
        let path = path.to_vec();
        (self.0)(Box::new(move |watch| watch.acl_dropped(&path)));
    }

    fn changed(&self, change: &Change) {
        let change = change.clone();
        (self.0)(Box::new(move |watch| watch.changed(&change)));
    }
}
