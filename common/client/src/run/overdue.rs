//! The client's own deadline after a command's time limit. The host enforces the limit, but a host that is
//! silent, or sends without end, must not keep the client waiting.

use std::time::{Duration, Instant};

use tokio::io::AsyncWrite;
use tokio::time::{sleep, sleep_until};

use super::job::Job;

/// How long after the limit the client waits for a silent host.
const BEHIND: Duration = Duration::from_secs(2);

/// A host is silent if no complete frame arrived for this long.
const QUIET: Duration = Duration::from_secs(2);

/// The time after the limit in which SIGKILL ends a command that ignores SIGTERM, and its exit arrives.
const KILLED: Duration = Duration::from_secs(8);

/// After that, the client waits for output as long as this much arrives in each step.
const STEP: Duration = Duration::from_secs(5);
const WORTH: u64 = 64 * 1024;

/// Output that has not arrived after this time is given up.
const MOST: Duration = Duration::from_secs(60);

/// How often to check whether the command was requested.
const LOOK: Duration = Duration::from_millis(100);

/// Waits until the command should have ended, `limit` after it was requested, and its exit should have arrived.
pub(super) async fn overdue<O, E>(job: &Job<O, E>, limit: Option<Duration>)
where
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    let Some(limit) = limit else { return std::future::pending().await };
    while !job.may_run() {
        sleep(LOOK).await;
    }
    let Some(over) = Instant::now().checked_add(limit) else {
        return std::future::pending().await;
    };
    sleep_until((over + BEHIND).into()).await;
    if job.heard().is_none_or(|heard| heard.elapsed() > QUIET) {
        return;
    }
    sleep_until((over + KILLED).into()).await;
    let mut received = total(job);
    while over.elapsed() < MOST {
        sleep(STEP).await;
        let now = total(job);
        if now - received < WORTH {
            return;
        }
        received = now;
    }
}

fn total<O, E>(job: &Job<O, E>) -> u64
where
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    let received = job.received();
    received.stdout.saturating_add(received.stderr)
}
