//! The format of a host's audit: lines of JSON, each sealed by a hash that covers the line before it.
//!
//! The agent writes these files; agent and controller verify them. A file is named by the number of its first
//! line, which is always an [`OPENED`] line, so that a copy of the lines shows where each file begins.

mod file_name;
mod flaw;
mod line;
mod verifier;

pub use file_name::FileName;
pub use flaw::{Flaw, Gap, Wrong};
pub use line::{Hash, Head, MAX_LINE, Malformed, NO_HASH, hex, read, seal};
pub use verifier::{Verifier, Whole};

/// The event of the first line of each file. Names the chain, the host and its enrollment.
pub const OPENED: &str = "opened";

/// The event of a line that tells which lines are removed because of their age.
pub const DROPPED: &str = "dropped";
