//! Waiting for a state instead of for a time.

use std::time::{Duration, Instant};

/// How long a state may take to come before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Looks until `state` gives something.
///
/// # Panics
/// When it has not after [`PATIENCE`]; `what` says what was waited for.
pub fn until<T>(what: &str, mut state: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = state() {
            return value;
        }
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
