//! Stdin as a source.

use std::time::{SystemTime, UNIX_EPOCH};

use lariat_wire::protocol::metadata::Time;

/// The source that is stdin.
pub(super) const STDIN: &str = "-";

/// The time that stdin's content is of.
pub(super) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let secs = i64::try_from(since.as_secs()).unwrap_or_default();
    Time { secs, nanos: since.subsec_nanos() }
}
