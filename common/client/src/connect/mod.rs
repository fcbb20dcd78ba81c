//! Connecting to a host: a stream, TLS, the login and the first request, under one deadline.
//!
//! Three round trips: TCP's, TLS's (the agent's challenge rides with its half of the handshake), and
//! one for the login with the first request behind it in the same write. Invariant: nothing that a
//! host says is used before its certificate, its enrolled key and its own proof have all held.

mod connector;
mod discovered;
mod error;
mod first;
mod gateway;
mod local;
mod login;
mod race;
mod route;
mod session;
mod tls;
mod verify;

#[cfg(test)]
mod tests;

pub(crate) use connector::Connector;
pub use discovered::Unproved;
pub use error::{Cause, ConnectError, Stage};
pub(crate) use first::First;
pub(crate) use gateway::Gateway;
pub(crate) use route::Route;
pub use session::Session;
pub use tls::{BadTrust, Trust};
pub use verify::Rejected;
