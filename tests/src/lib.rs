//! What end-to-end tests stand on: the real binaries, a fleet of a test's own, a faulty network.
//!
//! Each test has its own directory and its own ports, picked by the system, so that any number of them
//! run beside each other; everything ends and goes when its value is dropped.

pub mod binaries;
pub mod faulty;
pub mod fleet;
pub mod many_agents;
pub mod oracle;
pub mod output;
pub mod rng;
pub mod screen;
pub mod strace;
pub mod wait;
