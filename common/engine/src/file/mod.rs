//! A file at its destination: from the unfinished file that a transfer writes to the complete one under its
//! name.

pub(crate) mod backup;
pub(crate) mod basis;
pub(crate) mod body;
pub(crate) mod commit;
pub(crate) mod in_place;
pub(crate) mod in_use;
pub(crate) mod journal;
mod owner;
pub(crate) mod partial;
pub(crate) mod private_file;
pub(crate) mod read_back;
pub(crate) mod replaceable;
pub(crate) mod sweep;
pub(crate) mod temporary;
pub(crate) mod unfinished;

pub use commit::CommitOptions;
pub use owner::{Busy, Owner};
pub use partial::Partial;
pub use unfinished::Opened;
