//! The limit on open files: the agent raises its own as far as the system allows.
//!
//! A command gets the original limit back, because programs that use select(2) or close every possible
//! descriptor rely on a small one.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

static ORIGINAL: OnceLock<Rlimit> = OnceLock::new();

/// Raises the limit to its maximum. The original is remembered.
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
