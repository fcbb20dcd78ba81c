//! How many files the agent itself may have open: as many as the system allows it.
//!
//! A command gets the limit back that the agent was started with, because programs that use `select`
//! or close every possible descriptor rely on a small one.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

static ORIGINAL: OnceLock<Rlimit> = OnceLock::new();

/// Raises the limit as far as it goes, once, and remembers what it was.
pub fn raise() {
    let limit = original();
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("can't raise the limit of open files: {error}");
    }
}

/// The limit that the agent was started with, for its commands.
pub fn original() -> Rlimit {
    *ORIGINAL.get_or_init(|| getrlimit(Resource::Nofile))
}
