//! The agent `lariatd`, which runs on every host, as a library for the thin binary and for tests.
//!
//! One runtime on the main thread accepts connections, authenticates peers and handles signals; each session
//! runs on a thread with a runtime of its own (see [`serve`]). A failure in one connection or session never
//! ends the agent.

pub mod admission;
pub mod audit;
mod boxed;
pub mod budget;
pub mod capacity;
pub mod cases;
pub mod certificates;
pub mod check;
pub mod cli;
pub mod config;
pub mod core;
pub mod descriptors;
pub mod dial;
pub mod discover;
pub mod enroll_request;
mod examine;
pub mod files;
pub mod folded;
pub mod host;
pub mod identity;
pub mod job_shares;
pub mod jobs;
pub mod key_add;
pub mod keyring;
pub mod lanes;
mod listeners;
pub mod log;
pub mod memory;
pub mod meter;
pub mod notes;
mod notify;
mod own_status;
pub mod parking;
pub mod policy;
pub mod program;
mod renewal;
mod report;
pub mod requests;
pub mod running;
pub mod serve;
mod splice;
pub mod start;
mod status_page;
pub mod transfers;
pub mod transport;
mod upgrade;
mod usage;
pub mod user;
pub mod worker;

pub use cli::main;

/// A directory for a test's private files.
#[cfg(test)]
fn private_directory() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().permissions(mode).tempdir().unwrap()
}
