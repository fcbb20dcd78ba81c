//! Files and directories to and from a host, each in as many attempts as it takes.
//!
//! [`Transfers`] is the loop of attempts. A [`Transfer`] is one file or directory: [`FilePush`],
//! [`TreePush`], [`Fetch`]. A file may use several connections ([`Streams`]). [`push_file`] and [`pull_file`] do all of it for one file.

mod attempts;
mod destination;
mod error;
mod file_push;
mod lanes;
mod moved;
mod observed;
mod pull;
mod simple;
mod tree_push;

pub use attempts::{GaveUp, Reason, Transfer, Transfers};
pub use destination::{BadDestination, file_destination, is_contents, tree_destination};
pub use error::AttemptError;
pub use file_push::FilePush;
pub use lanes::{BadStreams, Streams};
pub use moved::Moved;
pub use pull::{Fetch, FetchError, FetchOptions};
pub use simple::{FileError, pull_file, push_file};
pub use tree_push::{Avoided, TreeError, TreePush};
