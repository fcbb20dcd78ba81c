//! The client's own deadline behind a command's time limit. The host enforces the limit; a host that is
//! silent, or sends without end, does not keep the client waiting.

use std::time::{Duration, Instant};

use tokio::io::AsyncWrite;
use tokio::time::{sleep, sleep_until};

use super::job::Job;

/// How long behind the limit a host that says nothing is waited for.
const BEHIND: Duration = Duration::from_secs(2);

/// A host that has said nothing whole for so long says nothing.
const QUIET: Duration = Duration::from_secs(2);

/// From the limit on, until SIGKILL has ended a command that SIGTERM did not, and the word of it is here.
const KILLED: Duration = Duration::from_secs(8);

/// Then output that still comes is waited for, as long as this much of it comes in each of these steps.
const STEP: Duration = Duration::from_secs(5);
const WORTH: u64 = 64 * 1024;

/// What of it does not come within this time is given up.
const MOST: Duration = Duration::from_secs(60);

/// How often to check whether the command was asked for.
const LOOK: Duration = Duration::from_millis(100);

/// Waits until the command should have ended `limit` after it was asked for, and the host should have said so.
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
