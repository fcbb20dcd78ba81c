//! How a controller and an agent prove themselves to each other, inside TLS and bound to it.
//!
//! The shape is SCRAM's (RFC 5802) with random keys in place of passwords, so that what a host keeps
//! lets nobody log in anywhere, and the TLS channel bound in by its exporter (RFC 9266).
//! [`proof`] is the arithmetic; [`agent`] and [`controller`] are the two ends as state machines
//! without I/O, that consume themselves; [`keyring`] is what the agent knows of each key.

pub mod agent;
pub mod controller;
pub mod keyring;
pub mod proof;
