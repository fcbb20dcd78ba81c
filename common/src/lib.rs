//! What lariat's two ends must agree on: the wire, the proof of identity, and the one transfer
//! engine that both use with the ends swapped.
//!
//! Nothing here opens a socket, prints, reads a command line or knows what any one
//! configuration file holds.

pub mod account;
pub mod auth;
pub mod beneath;
pub mod certificate;
pub mod clock;
pub mod codec;
pub mod escape;
pub mod file_size_limit;
pub mod frame;
pub mod limits;
pub mod link;
pub mod memory;
pub mod name;
pub mod private;
pub mod protocol;
pub mod script;
pub mod secret;
pub mod tls;
pub mod toml_file;
pub mod transfer;
pub mod units;
