//! The transfer engine: one sender and one receiver, used by both ends.
//!
//! Push and pull are the same with the ends swapped. Fresh, resumed and repeated transfers are one
//! mechanism: the receiver says what it has, the sender sends what is missing. Every chunk is hashed during
//! the transfer that uses it, and a file gets its name only when it is complete and on disk.
//!
//! Files are read, written and hashed inline, so each transfer runs on a separate thread with its
//! own current-thread runtime: a chunk stays in one core's cache from the disk to the socket, and no
//! shared reactor is ever blocked.
//!
//! The map, from the bottom up:
//! - [`error`], [`cancel`], [`progress`], [`offload`]: what all transfers share
//! - [`confined`]: directories and names by descriptor; [`destination`]: which name a file gets
//! - [`chunk`]: hashes and encodings of chunks; [`delta`]: which parts of a file the other end has
//! - [`metadata`]: what a file is beyond its content
//! - [`source`]: the file that is sent; [`file`]: the file that is received, until it has its name
//! - [`mod@send`], [`mod@receive`]: one file; [`tree`]: directories, which send large files by these
//! - [`lanes`]: what the connections of a transfer share; [`lane`] serves one of them
//! - [`clean`]: removes abandoned temporary files; [`file_size_limit`]: survives `RLIMIT_FSIZE`

mod cancel;
mod chunk;
pub mod clean;
pub mod confined;
pub mod delta;
pub mod destination;
mod error;
mod file;
pub mod file_size_limit;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod lane;
mod lanes;
mod metadata;
mod offload;
mod page_buffer;
mod progress;
mod receive;
mod send;
mod source;
pub mod tree;
mod wakeup;

pub use cancel::Cancel;
pub use chunk::sum::sum;
pub use error::TransferError;
pub use file::{Busy, CommitOptions, Opened, Owner, Partial};
pub use lane::{ReceiveLanes, SendLanes, receive_lane, send_lane};
pub use metadata::{Namespaces, ResolvedOverrides, account};
pub use progress::{Again, Progress, Unwatched};
pub use receive::{Receiving, Stream, Target, receive};
pub use send::{SendOptions, send};
pub use source::{CachedSource, ChunkCache, Source};
pub use transferred::Transferred;

mod transferred;

#[cfg(test)]
mod tests;
