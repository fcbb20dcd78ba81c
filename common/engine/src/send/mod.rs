//! The sender of one file: reads, hashes and sends what the receiver does not have.
//!
//! [`exchange`] is the dialogue with the receiver, [`sender`] sends chunks, and [`delta`] copies and literals
//! where the receiver has a similar file. [`lanes`] are further connections: each takes chunks from one [`queue`],
//! the first in [`share`], the others in [`mod@lane`].

mod delta;
mod delta_thread;
mod exchange;
mod lane;
mod lanes;
mod options;
mod pace;
mod queue;
mod receiver_message;
mod sender;
mod share;

pub use exchange::send;
pub(crate) use exchange::{check_have, send_failure, send_having};
pub use lane::send_lane;
pub use lanes::SendLanes;
pub use options::SendOptions;
pub(crate) use pace::Pace;
pub(crate) use sender::Sender;
