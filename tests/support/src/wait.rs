//! Waits for states instead of durations.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a test waits for a state before it fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a state is polled that somebody else must be asked for.
const EVERY: Duration = Duration::from_millis(10);

/// Polls `state` until it returns something.
///
/// # Panics
/// If it has not within [`PATIENCE`]; `what` names what was waited for.
pub fn until<T>(what: &str, state: impl FnMut() -> Option<T>) -> T {
    until_or(state, || what.to_owned())
}

/// Polls `state`, which asks somebody, until it returns something. To be called within [`block_on`], which limits it.
pub async fn until_told<T>(mut state: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        if let Some(value) = state().await {
            return value;
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Polls `state` until it returns something.
///
/// # Panics
/// If it has not within [`PATIENCE`]; `what` is called then, and names what was waited for.
pub fn until_or<T>(mut state: impl FnMut() -> Option<T>, what: impl FnOnce() -> String) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = state() {
            return value;
        }
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {}", what());
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Runs a test's asynchronous part on a runtime of its own, for at most [`PATIENCE`].
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    block_on_within(PATIENCE, work)
}

/// Runs a test's asynchronous part on a runtime of its own, for at most `limit`.
///
/// # Panics
/// If it takes longer.
pub fn block_on_within<T>(limit: Duration, work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let work = async { tokio::time::timeout(limit, work).await };
    runtime.expect("a runtime").block_on(work).expect("it ends in time")
}

/// Waits until a partial in `directory` has this many bytes, and returns its path.
///
/// # Panics
/// If it has not within [`PATIENCE`], or the directory does not exist.
pub fn partial_reaches(directory: &Path, bytes: u64) -> PathBuf {
    until("the partial to grow", || {
        let mut paths = std::fs::read_dir(directory).unwrap().flatten().map(|entry| entry.path());
        paths.find(|path| {
            let partial = path.extension().is_some_and(|extension| extension == "part");
            partial && path.metadata().is_ok_and(|metadata| metadata.len() >= bytes)
        })
    })
}
