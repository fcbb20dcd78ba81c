//! The sender of one file: reads, hashes and sends what the receiver does not have.
//!
//! [`exchange`] is the dialogue with the receiver, [`sender`] sends chunks, and [`delta`] copies and literals
//! where the receiver has a similar file.

mod delta;
mod delta_thread;
mod exchange;
mod pace;
mod receiver_message;
mod sender;

pub use exchange::send;
pub(crate) use exchange::{check_have, send_failure, send_having};
pub(crate) use pace::Pace;
pub(crate) use sender::Sender;
