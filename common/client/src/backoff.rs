//! Whether a failed attempt is repeated, and when. No clock.

use std::time::{Duration, Instant};

use lariat_wire::link::LinkError;

use crate::connect::{self, ConnectError};
use crate::dial::DialError;

/// The wait before the first new attempt; it doubles with each attempt that makes no progress.
const FIRST_WAIT: Duration = Duration::from_millis(25);

/// The longest wait, so that the host's return is noticed within a second.
const LONGEST_WAIT: Duration = Duration::from_millis(700);

/// The waits between attempts of one outage.
pub(crate) struct Backoff {
    limit: Duration,
    broken: Option<(Instant, Duration)>,
}

impl Backoff {
    /// Gives up after `limit` without progress.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, broken: None }
    }

    /// Records that an attempt failed, in an outage that began at `since`; `moved` says whether the attempt
    /// made progress. Returns the wait before the next attempt, or `None` to give up.
    pub(crate) fn broke(&mut self, moved: bool, since: Instant, now: Instant) -> Option<Duration> {
        let (since, wait) = match self.broken {
            Some(broken) if !moved => broken,
            _ => (since, FIRST_WAIT),
        };
        self.broken = Some((since, (wait * 2).min(LONGEST_WAIT)));
        let left = (since + self.limit).checked_duration_since(now)?;
        (!left.is_zero()).then(|| wait.min(left))
    }
}

/// Bytes that a connection must bring before it breaks to count as a useful one.
const WORTH: u64 = 512 * 1024;

/// Connections in a row that bring less, after which a host of many is given up.
const MOST_SHORT: u32 = 5;

/// Counts connections in a row that broke before they brought anything worthwhile. The operator of one host
/// waits for such a link; among many hosts it holds up the others.
#[derive(Default)]
pub struct Flapping(u32);

impl Flapping {
    /// Records a connection that broke after `brought` bytes. Returns how many there were in a row once that
    /// is too many.
    pub fn broke(&mut self, brought: u64) -> Option<u32> {
        self.0 = if brought < WORTH { self.0 + 1 } else { 0 };
        (self.0 >= MOST_SHORT).then_some(self.0)
    }
}

/// Whether a link failed because its connection did, so that a new connection may continue.
pub fn is_broken_connection(error: &LinkError) -> bool {
    use LinkError::{Cut, Goodbye, Io, Silent, Slow};
    matches!(error, Cut | Silent | Slow | Io(_) | Goodbye { .. })
}

/// Whether a host that answered a moment ago may soon answer again.
pub fn may_come_back(error: &ConnectError) -> bool {
    use connect::Cause::{Cut, Dial, Hangup, Io, Link, Timeout};
    match &*error.cause {
        Dial(
            DialError::Resolve(_)
            | DialError::Connect(_)
            | DialError::Leg { is_refusal: false, .. },
        )
        | Timeout { .. }
        | Hangup
        | Io(_)
        | Cut(_) => true,
        // A gateway may be restarted, and the host dials it anew.
        Dial(DialError::Leg { is_refusal, .. }) => !is_refusal,
        // The socket of an agent that is restarted is missing for a moment.
        Dial(DialError::Socket(error)) => error.kind() != std::io::ErrorKind::PermissionDenied,
        Link(error) => is_broken_connection(error),
        _ => false,
    }
}

/// Whether a host that was not reached yet is worth another attempt. An address that does not answer at all
/// is reported at once, as no host may ever have been there.
pub(crate) fn may_be_there(error: &ConnectError) -> bool {
    let is_timeout = matches!(*error.cause, connect::Cause::Timeout { .. });
    may_come_back(error) && error.had_connection() && !is_timeout
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_connections_count_only_in_a_row() {
        let mut flapping = Flapping::default();
        let brought = [0, 9, 99, 999, WORTH, 0, WORTH - 1, 9, 99];
        assert!(brought.into_iter().all(|brought| flapping.broke(brought).is_none()));
        assert_eq!(flapping.broke(0), Some(MOST_SHORT));
    }

    #[test]
    fn it_ends_after_the_limit_without_progress_and_begins_anew_with_it() {
        let mut backoff = Backoff::new(Duration::from_secs(30));
        let begin = Instant::now();
        let mut now = begin;
        let mut attempts = 0;
        while let Some(wait) = backoff.broke(false, begin, now) {
            now += wait;
            attempts += 1;
        }
        assert_eq!(now - begin, Duration::from_secs(30));
        assert!((40..60).contains(&attempts), "{attempts}");
        assert_eq!(backoff.broke(true, now, now), Some(FIRST_WAIT));
        assert_eq!(Backoff::new(Duration::ZERO).broke(true, now, now), None);
        // Silence before the break counts.
        let silent = now + Duration::from_secs(29);
        let last = backoff.broke(true, now, silent + Duration::from_millis(990));
        assert_eq!(last, Some(Duration::from_millis(10)));
    }
}
