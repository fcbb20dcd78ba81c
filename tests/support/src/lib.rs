//! What end-to-end tests and the benchmark stand on: the real programs, a fleet of a test's own, an agent
//! and a controller that break the rules, a faulty network.
//!
//! Each test has its own directory and its own ports, picked by the system, so that any number of them
//! run beside each other; everything ends and goes when its value is dropped.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where something is not as it must be"
)]

pub mod agent;
pub mod bare_agent;
pub mod binaries;
pub mod fake_agent;
pub mod faulty;
pub mod files;
pub mod fleet;
pub mod many_agents;
pub mod oracle;
pub mod output;
pub mod rng;
pub mod screen;
pub mod strace;
pub mod wait;
