//! Which host is next, of many: so many at once, batch by batch, until too many have failed. No clock
//! and no I/O.

use std::ops::Range;

use super::HostCount;

/// How a fan-out goes over its hosts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Hosts at once, at least one.
    pub(crate) parallel: usize,
    /// Hosts that must all have ended before the next ones begin.
    pub(crate) batch: Option<HostCount>,
    /// No more hosts begin once more than this have failed.
    pub(crate) max_fail: Option<HostCount>,
}

impl Limits {
    /// How many of so many hosts are under way at once, at most.
    pub(crate) fn at_once(&self, total: usize) -> usize {
        let batch = self.batch.map_or(total, |batch| batch.up(total));
        total.min(self.parallel).min(batch).max(1)
    }

    /// Whether so many hosts all begin before any has ended.
    pub(crate) fn all_at_once(&self, total: usize) -> bool {
        total <= self.parallel && self.batch.is_none_or(|batch| batch.up(total) >= total)
    }
}

/// Where a fan-out over `0..total` stands.
pub(crate) struct Schedule {
    total: usize,
    parallel: usize,
    batch: usize,
    max_fail: usize,
    next: usize,
    /// The next batch begins here.
    end: usize,
    running: usize,
    failed: usize,
    stopped: bool,
}

impl Schedule {
    /// Before the first host.
    pub(crate) fn new(total: usize, limits: Limits) -> Self {
        let batch = limits.batch.map_or(total, |batch| batch.up(total)).max(1);
        Self {
            total,
            parallel: limits.parallel.max(1),
            batch,
            max_fail: limits.max_fail.map_or(total, |max_fail| max_fail.down(total)),
            next: 0,
            end: batch.min(total),
            running: 0,
            failed: 0,
            stopped: false,
        }
    }

    /// The next host, if one may begin now. It must be told of by [`Schedule::ended`].
    pub(crate) fn start(&mut self) -> Option<usize> {
        if self.stopped || self.running == self.parallel {
            return None;
        }
        if self.next == self.end {
            if self.running > 0 || self.end == self.total {
                return None;
            }
            self.end = self.end.saturating_add(self.batch).min(self.total);
        }
        let host = self.next;
        self.next += 1;
        self.running += 1;
        Some(host)
    }

    /// A host that had begun has ended.
    pub(crate) fn ended(&mut self, ok: bool) {
        self.running -= 1;
        self.failed += usize::from(!ok);
        self.stopped |= self.failed > self.max_fail;
    }

    /// No more hosts begin.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Whether nothing runs and nothing will begin.
    pub(crate) fn is_over(&self) -> bool {
        self.running == 0 && (self.stopped || self.next == self.total)
    }

    /// The hosts that have not begun.
    pub(crate) fn not_started(&self) -> Range<usize> {
        self.next..self.total
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits(parallel: usize, batch: Option<&str>, max_fail: Option<&str>) -> Limits {
        let share = |text: &str| text.parse().unwrap();
        Limits { parallel, batch: batch.map(share), max_fail: max_fail.map(share) }
    }

    /// Starts all that may begin.
    fn begin(schedule: &mut Schedule) -> Vec<usize> {
        std::iter::from_fn(|| schedule.start()).collect()
    }

    #[test]
    fn so_many_run_at_once() {
        let mut schedule = Schedule::new(5, limits(2, None, None));
        assert_eq!(begin(&mut schedule), [0, 1]);
        schedule.ended(false);
        assert_eq!(begin(&mut schedule), [2]);
        schedule.ended(true);
        schedule.ended(true);
        assert_eq!(begin(&mut schedule), [3, 4]);
        schedule.ended(true);
        assert!(!schedule.is_over());
        schedule.ended(true);
        assert!(schedule.is_over() && schedule.not_started().is_empty());
    }

    #[test]
    fn a_batch_ends_before_the_next_begins() {
        let mut schedule = Schedule::new(5, limits(64, Some("40%"), None));
        assert_eq!(begin(&mut schedule), [0, 1]);
        schedule.ended(true);
        assert!(begin(&mut schedule).is_empty());
        schedule.ended(true);
        assert_eq!(begin(&mut schedule), [2, 3]);
        schedule.ended(true);
        schedule.ended(true);
        assert_eq!(begin(&mut schedule), [4]);
    }

    #[test]
    fn nothing_begins_once_too_many_have_failed_and_what_runs_ends() {
        let mut schedule = Schedule::new(10, limits(3, None, Some("1")));
        assert_eq!(begin(&mut schedule), [0, 1, 2]);
        schedule.ended(false);
        assert_eq!(begin(&mut schedule), [3]);
        schedule.ended(false);
        assert!(begin(&mut schedule).is_empty());
        assert!(!schedule.is_over());
        schedule.ended(true);
        schedule.ended(true);
        assert!(schedule.is_over());
        assert_eq!(schedule.not_started(), 4..10);
        let mut schedule = Schedule::new(10, limits(1, None, Some("0")));
        assert_eq!(begin(&mut schedule), [0]);
        schedule.ended(false);
        assert!(schedule.is_over());
    }

    proptest! {
        #[test]
        fn every_host_begins_once_and_in_order(
            total in 0_usize..40, parallel in 0_usize..9, batch in proptest::option::of(0_usize..50),
            order in any::<u64>(),
        ) {
            let batch = batch.map(HostCount::Count);
            let mut schedule = Schedule::new(total, Limits { parallel, batch, max_fail: None });
            let (mut begun, mut running) = (Vec::new(), 0);
            while !schedule.is_over() {
                let new = begin(&mut schedule);
                running += new.len();
                begun.extend(new);
                prop_assert!((1..=parallel.max(1)).contains(&running));
                let ends = 1 + order.to_le_bytes().map(usize::from)[running % 8] % running;
                (0..ends).for_each(|_| schedule.ended(true));
                running -= ends;
            }
            prop_assert_eq!(begun, (0..total).collect::<Vec<_>>());
        }
    }
}
