//! The clock that goes on while the machine sleeps.

use std::time::Duration;

/// Time since this machine was started.
pub fn since_boot() -> Duration {
    let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(since).unwrap_or_default()
}
