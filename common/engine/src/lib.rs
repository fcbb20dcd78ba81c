//! The transfer engine: one sender and one receiver, used by both ends.
//!
//! Push and pull are the same with the ends swapped. Fresh, resumed and repeated transfers are one
//! mechanism: the receiver says what it has, the sender sends what is missing. Nothing is believed
//! that was not hashed this time, and a file appears under its name only complete and on disk.
//!
//! Files are read, written and hashed inline, so each transfer runs on a thread of its own with its
//! own current-thread runtime: a chunk stays in one core's cache from the disk to the socket, and no
//! shared reactor is ever blocked.
//!
//! [`hash`] is the arithmetic of chunks and whole files, [`reconcile`] decides what is sent again,
//! [`destination`] where a file goes, [`attributes`] what it gets beyond its content, [`partial`] is the unfinished file and its journal, [`in_place`] the file itself where it is written into, [`end_state`] what the complete one gets beyond its content, [`temporary`] what all such files are called, [`in_use`] whether one is in use, [`sweep`] and [`clean`] remove those that were given up, [`source`]
//! the file that is read, [`chunk_cache`] one that is read for many, [`delta`] what of a file the other end has; [`send`] and [`receive`] move
//! the bytes. [`tree`] moves whole directories, and has these for their large files.

pub mod account;
mod acl;
mod attributes;
mod backup;
mod basis;
mod body;
mod cancel;
mod chunk_cache;
pub mod clean;
mod commit;
pub mod confined;
pub mod delta;
pub mod destination;
mod disk_times;
mod encode;
mod end_state;
mod error;
pub mod file_size_limit;
mod generated;
pub mod hash;
mod in_place;
mod in_use;
mod journal;
mod offload;
mod partial;
mod private_file;
mod receive;
mod reconcile;
mod rehash;
mod replaced;
mod send;
mod source;
mod sparse;
mod subject;
mod sweep;
mod temporary;
pub mod tree;
mod unfinished;

pub use cancel::Cancel;
pub use chunk_cache::{CachedSource, ChunkCache};
pub use commit::{CommitOptions, Committed, ResolvedOverrides};
pub use error::TransferError;
pub use partial::{Busy, Owner, Partial};
pub use receive::{Received, Stream, Target, receive};
pub use send::{Sent, send};
pub use source::Source;
pub use unfinished::{Opened, Unfinished};

/// Told how a transfer goes, from the thread that it runs on. All counts are bytes.
pub trait Progress {
    /// The file has this many bytes, if that is known, of which this many are there already.
    fn begin(&self, size: Option<u64>, have: u64);
    /// These many more have been sent or received.
    fn moved(&self, bytes: u64);
}

/// For transfers that nobody watches.
pub struct Unwatched;

impl Progress for Unwatched {
    fn begin(&self, _size: Option<u64>, _have: u64) {}
    fn moved(&self, _bytes: u64) {}
}

#[cfg(test)]
mod tests;
