//! Times as the wire and files represent them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since this machine was booted, sleep included.
pub fn since_boot() -> Duration {
    let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(since).unwrap_or_default()
}

/// Milliseconds since 1970; 0 for an earlier time.
pub fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
