//! A tree that is about to be received.

use super::avoid::Avoid;
use super::filter::Filter;
use super::target::TreeTarget;
use crate::metadata::ResolvedOverrides;
use lariat_wire::protocol::tree::{Entry, TreeOptions};

/// A tree that is about to be received.
pub struct TreeArrival {
    /// Where it goes.
    pub target: TreeTarget,
    /// The root as its sender describes it.
    pub root: Entry,
    /// What both ends agreed on.
    pub options: TreeOptions,
    /// What is excluded.
    pub filter: Filter,
    /// What the operator sets on files.
    pub overrides: ResolvedOverrides,
    /// Files that are not tried again.
    pub avoid: Avoid,
}
