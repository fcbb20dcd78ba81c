//! A tree that is about to be received.

use super::avoid::Avoid;
use super::brought::Brought;
use super::filter::Filter;
use super::receive_lanes::ReceiveTree;
use super::target::TreeTarget;
use crate::lanes::Lanes;
use crate::metadata::ResolvedOverrides;
use crate::receive::ReceiveFile;
use lariat_wire::protocol::tree::{Entry, TreeOptions};

/// A tree that is about to be received.
pub struct TreeArrival {
    /// Where it goes.
    pub target: TreeTarget,
    /// The root as its sender describes it.
    pub(super) root: Entry,
    /// What both ends agreed on.
    pub(super) options: TreeOptions,
    /// What is excluded.
    pub(super) filter: Filter,
    /// What the operator sets on files.
    pub(super) overrides: ResolvedOverrides,
    /// Files that are not tried again.
    pub(super) avoid: Avoid,
    /// The names of the pull's sources so far, if there are several.
    pub(super) brought: Option<Brought>,
    /// Further connections that bring a part of it.
    pub(super) lanes: Option<Lanes<ReceiveTree>>,
    /// Lanes on the further connections, which bring chunks of one of the tree's large files.
    pub(super) file_lanes: Lanes<ReceiveFile>,
}

impl TreeArrival {
    /// A tree with this `root`, which goes to `target`. `filter` excludes files, and those in `avoid` are not tried.
    pub fn new(
        target: TreeTarget,
        root: Entry,
        options: TreeOptions,
        filter: Filter,
        overrides: ResolvedOverrides,
        avoid: Avoid,
    ) -> Self {
        let (lanes, file_lanes, brought) = (None, Lanes::default(), None);
        Self { target, root, options, filter, overrides, avoid, brought, lanes, file_lanes }
    }

    /// Passes over names that an earlier source has brought.
    #[must_use]
    pub fn after(self, brought: Option<Brought>) -> Self {
        Self { brought, ..self }
    }

    /// Lets these lanes bring a part of it.
    pub(crate) fn on_lanes(
        self,
        lanes: Lanes<ReceiveTree>,
        file_lanes: Lanes<ReceiveFile>,
    ) -> Self {
        Self { lanes: Some(lanes), file_lanes, ..self }
    }
}
