//! The receiver of one file: says what it has, takes what is missing, and commits the complete file.
//!
//! [`exchange`] is the dialogue with the sender, [`receiver`] takes what the sender sends. A basis is cut by
//! [`basis_cutter`], and [`rebuild`] copies from it. [`lanes`] are further connections, served by [`mod@lane`].

mod basis_cutter;
mod chunk;
mod chunk_writer;
mod exchange;
mod lane;
mod lanes;
mod open_lanes;
mod rebuild;
mod receiver;
mod share;
mod target;

pub(crate) use exchange::give_up;
pub use exchange::receive;
pub use lane::receive_lane;
pub use lanes::ReceiveLanes;
pub(crate) use receiver::Receiver;
pub use target::{Receiving, Stream, Target};
