//! The messages of the protocol. What each end does with them is elsewhere.
//!
//! A session is: `Challenge`, `Login` (followed at once by the first request), `Welcome` or `Denied`, then
//! requests one at a time. docs/PROTOCOL.md describes the dialogue; the types here are its messages.

pub mod audit;
pub mod can;
pub mod clean;
pub mod connect;
pub mod doctor;
pub mod exec;
pub mod failure;
pub mod hello;
pub mod hypothetical;
pub mod invalid;
pub mod job;
pub mod key;
mod kind;
pub mod listen;
mod message;
pub mod metadata;
pub mod note;
pub mod pull;
pub mod renewal;
pub mod request;
pub mod session;
pub mod status;
pub mod transfer;
pub mod tree;
pub mod upgrade;
pub mod verb;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod versions;

pub use kind::{Kind, UnknownKind};
pub use message::{Message, decode_any};
