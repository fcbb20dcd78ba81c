//! The further connections of a transfer, its lanes: how many, and what each of them does.
//!
//! [`policy`] decides how many are worth it, [`pool`] starts and ends them, [`lane`] is one of them.

mod lane;
mod policy;
mod pool;
mod streams;

pub(super) use lane::Ends;
pub(super) use pool::LanePool;
pub use streams::{BadStreams, Streams};
