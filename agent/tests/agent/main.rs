//! The real `lariatd`, attacked and used over real sockets. Each test has an agent, a fleet and a port
//! of its own.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which clippy does not take for tests")]

mod attach;
mod greeting;
mod harness;
mod jobs;
mod life;
mod limits;
mod session;
mod strangers;
mod tree;
