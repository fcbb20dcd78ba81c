//! Whole directories: a manifest streams one way, what is wanted comes back, contents follow.
//!
//! [`order`] is what a manifest's order means, [`filter`] what is left out of it, [`pack`] how small files travel together: arithmetic without I/O. The
//! sender is [`walk`] and [`read`], each a thread beside the network, [`unsettled`], which keeps what is
//! not settled, and [`send`] and [`receiver_messages`], which join them. The receiver is [`verdict`] with [`manifest`]
//! and [`compare`], which say what is wanted, [`write`](mod@write) and [`replace`], which put small
//! files in their places, [`large_file`] for large ones, [`finish`], which does what must come last with [`removal`], and
//! [`receiving`], which joins them. Files that do not fit a pack go by the engine
//! for single files. [`removal`] deletes what the source does not have, [`deletes`] tells a dry run of it.
//! [`mod@look`] is the dry run of a file that goes alone.
//!
//! No entry is kept longer than until it is settled, but for directories, whose times are set last, and
//! links, which are made last.

mod compare;
mod deletes;
mod dry_run;
mod filter;
mod finish;
mod large_file;
mod manifest;
mod order;
mod pack;
mod read;
mod receive;
mod receiver_messages;
mod receiving;
mod removal;
mod replace;
mod send;
mod shared;
mod snapshot;
mod target;
mod unsettled;
mod verdict;
mod walk;
mod workers;
mod working_directory;
mod write;

pub use dry_run::{Look, UNREAD, describe, describe_for, describe_stream, hear_look, look};
pub use filter::{BadGlob, Filter};
pub use read::Avoid;
pub use receive::{TreeArrival, receive_tree};
pub use send::send_tree;
pub use target::TreeTarget;
pub use walk::TreeSource;

pub(super) use walk::shown;

use super::Progress;
use lariat_wire::protocol::failure::{Cause, Failure, FileKind};
use lariat_wire::protocol::tree::Change;

/// Told how a tree's transfer goes, from the thread that it runs on.
pub trait Watch {
    /// Files of these many more bytes belong to the tree.
    fn listed(&self, bytes: u64);
    /// These many more bytes of files were there already.
    fn had(&self, bytes: u64);
    /// These many more have been sent or received.
    fn moved(&self, bytes: u64);
    /// Something could not be read or written, at this end or the other; the rest goes on.
    fn missed(&self, failure: &Failure, side: Side);
    /// A path, relative to the root, that is nothing that is copied.
    fn skipped(&self, path: &[u8], kind: FileKind);
    /// A name, by its path relative to the root, has an ACL, which was not asked for and does not travel.
    fn acl_dropped(&self, path: &[u8]);
    /// What a dry run would do.
    fn changed(&self, change: &Change);
    /// Whether the sender is told of that too. Whoever is the operator's own end keeps its paths to itself.
    fn tells_sender(&self) -> bool {
        true
    }
}

/// Which end something happened at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This one.
    Here,
    /// The other one, which said so.
    There,
}

/// What one end did, whether it came to the end or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes of bodies on the wire.
    pub sent: u64,
    /// Bytes of files that they stand for.
    pub moved: u64,
    /// The file that the connection was given up for, by its path below the root, and why: it is to be
    /// avoided next time.
    pub aborted_by: Option<(Vec<u8>, Failure)>,
}

impl Counts {
    /// A file alone has ended the connection, unless that was to end anyway.
    fn spoil(&mut self, path: Vec<u8>, failure: &Failure) {
        if !matches!(failure.cause, Cause::Stopping | Cause::Superseded) {
            self.aborted_by = Some((path, failure.clone()));
        }
    }
}

/// A tree's file as the engine for single files shows it.
struct Engine<'a>(&'a dyn Watch);

impl Progress for Engine<'_> {
    fn begin(&self, _size: Option<u64>, have: u64) {
        self.0.had(have);
    }

    fn moved(&self, bytes: u64) {
        self.0.moved(bytes);
    }
}

#[cfg(test)]
mod tests;
