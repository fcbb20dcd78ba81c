//! What end-to-end tests stand on: the real binaries, a fleet of a test's own, a faulty network.
//!
//! Each test has its own folder and its own ports, picked by the system, so that any number of them
//! run beside each other; everything ends and goes when its value is dropped.

pub mod binaries;
pub mod crowd;
pub mod dice;
pub mod faulty;
pub mod fleet;
pub mod oracle;
pub mod said;
pub mod screen;
pub mod strace;
pub mod wait;
