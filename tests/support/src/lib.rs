//! What end-to-end tests and the benchmark share: the real programs, a fleet for each test, an agent and a
//! controller that break the rules, a faulty network and a real one.
//!
//! Each test has its own directory and its own ports, picked by the system, so that any number of tests can
//! run at once. Dropping a value ends and removes what it stands for.

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
pub mod machine;
pub mod many_agents;
pub mod network;
pub mod oracle;
pub mod output;
pub mod rng;
pub mod screen;
pub mod stage;
pub mod strace;
pub mod wait;
