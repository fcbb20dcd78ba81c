//! How a controller and an agent prove themselves to each other, inside TLS and bound to it.
//!
//! The scheme is SCRAM's (RFC 5802) with random keys in place of passwords, so that what a host stores lets
//! nobody log in anywhere, and with the TLS channel bound in by its exporter (RFC 9266). [`proof`] has the
//! computations; [`agent`] and [`controller`] are the two ends, as state machines without I/O whose steps
//! consume them; [`keyring`] is what the agent knows of each key.

pub mod agent;
pub mod controller;
pub mod keyring;
pub mod proof;
pub mod request_file;
pub mod request_sum;
