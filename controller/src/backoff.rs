//! Whether what broke off is tried again, and when. No clock.

use std::time::{Duration, Instant};

use lariat_wire::link::LinkError;

use crate::connect::{self, ConnectError};

/// The wait before the first new attempt; it doubles with each that gets nowhere.
const FIRST_WAIT: Duration = Duration::from_millis(25);

/// The longest wait: that the host is there again is to be noticed within a second.
const LONGEST_WAIT: Duration = Duration::from_millis(700);

/// How long it has been broken.
pub(crate) struct Patience {
    limit: Duration,
    broken: Option<(Instant, Duration)>,
}

impl Patience {
    /// Gives up when nothing has moved for `limit`.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, broken: None }
    }

    /// An attempt broke off, after an outage that began at `since`; `moved` says whether it got anywhere.
    /// Gives the wait before the next one, or nothing when it is enough.
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

/// Bytes that a connection brings before it breaks, if it is one to go on with.
const WORTH: u64 = 512 * 1024;

/// Connections in a row that bring less, after which one host of many is given up.
const MOST_SHORT: u32 = 5;

/// How often in a row a connection broke before it had brought anything worth its making. The operator of
/// one host waits for such a link to come through; of many, it is to be told of, and holds up others.
#[derive(Default)]
pub(crate) struct Flapping(u32);

impl Flapping {
    /// A connection broke after it had brought so much. Tells how often by now, if it is enough.
    pub(crate) fn broke(&mut self, brought: u64) -> Option<u32> {
        self.0 = if brought < WORTH { self.0 + 1 } else { 0 };
        (self.0 >= MOST_SHORT).then_some(self.0)
    }
}

/// Whether a link failed for want of a connection, so that a new one may go on.
pub(crate) fn is_broken_connection(error: &LinkError) -> bool {
    use LinkError::{Cut, Goodbye, Io, Silent, Slow};
    matches!(error, Cut | Silent | Slow | Io(_) | Goodbye { .. })
}

/// Whether a host that was there a moment ago may soon be again.
pub(crate) fn may_come_back(error: &ConnectError) -> bool {
    use connect::Cause::{Connect, Cut, Hangup, Io, Link, Resolve, Timeout};
    match &*error.cause {
        Resolve(_) | Connect(_) | Timeout { .. } | Hangup | Io(_) | Cut(_) => true,
        Link(error) => is_broken_connection(error),
        _ => false,
    }
}

/// Whether a host that was not reached yet is worth another attempt. What nobody answers at all is told at
/// once, as it may never have been there; what was cut off in the middle was.
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
        let mut patience = Patience::new(Duration::from_secs(30));
        let begin = Instant::now();
        let mut now = begin;
        let mut attempts = 0;
        while let Some(wait) = patience.broke(false, begin, now) {
            now += wait;
            attempts += 1;
        }
        assert_eq!(now - begin, Duration::from_secs(30));
        assert!((40..60).contains(&attempts), "{attempts}");
        assert_eq!(patience.broke(true, now, now), Some(FIRST_WAIT));
        assert_eq!(Patience::new(Duration::ZERO).broke(true, now, now), None);
        // Silence before the break counts.
        let silent = now + Duration::from_secs(29);
        let last = patience.broke(true, now, silent + Duration::from_millis(990));
        assert_eq!(last, Some(Duration::from_millis(10)));
    }
}
