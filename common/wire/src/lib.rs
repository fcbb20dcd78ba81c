//! The wire between an agent and a controller: TLS records, frames, messages, and the proof of identity.
//!
//! Everything works over any byte stream. Nothing here opens a socket or a file.

pub mod auth;
pub mod codec;
pub mod discover;
pub mod frame;
pub mod grown;
pub mod limits;
pub mod link;
pub mod memory;
pub mod pipe;
pub mod protocol;
pub mod tls;
