//! What is known of a job on its host between two connections, and so what may be asked there next.
//! No clock and no I/O. Times count from this machine's boot, sleep included: a host may be restarted while
//! this machine sleeps.
//!
//! Invariant: the request itself is only sent when it can't have arrived before, or to the same boot of
//! the host, whose agent then has the job's id: a command runs at most once.

use std::time::Duration;

use lariat_base::name::BootId;

/// What is known of a job.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AtMostOnce {
    asked: Option<Asked>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    /// When the request was first sent, if that is known.
    first: Option<Duration>,
    /// The first boot of the host that was seen since then.
    boot: Option<BootId>,
}

impl AtMostOnce {
    /// Whether the request may have arrived.
    pub(super) fn may_be_there(&self) -> bool {
        self.asked.is_some()
    }

    /// Another controller has sent the request, not before `first`. Where that is not known, the request
    /// itself is never sent.
    pub(super) fn of_before(first: Option<Duration>) -> Self {
        Self { asked: Some(Asked { first, boot: None }) }
    }

    /// Whether the request itself is never sent from here.
    pub(super) fn is_only_looked_for(&self) -> bool {
        self.asked.is_some_and(|asked| asked.first.is_none())
    }

    /// The request was sent, not before `first`.
    pub(super) fn asked(&mut self, first: Duration) {
        self.asked.get_or_insert(Asked { first: Some(first), boot: None });
    }

    /// A login held after the request was sent.
    pub(super) fn welcomed(&mut self, boot: BootId) {
        if let Some(asked) = &mut self.asked {
            asked.boot.get_or_insert(boot);
        }
    }

    /// Whether the request can't have arrived in another boot than this one, which was `up` for so
    /// long at `now`.
    pub(super) fn is_same_boot(&self, boot: BootId, up: Duration, now: Duration) -> bool {
        match self.asked {
            None => true,
            // The first welcome that came may have been a later boot's.
            Some(Asked { first, boot: known }) => {
                let was_up = first.is_some_and(|first| up > now.saturating_sub(first));
                known.is_none_or(|known| known == boot) && was_up
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(1000);
    const SHORT: Duration = Duration::from_secs(1);

    #[test]
    fn a_request_is_repeated_to_the_boot_that_may_have_it_and_to_no_other() {
        let now = Duration::from_secs(5);
        let later = now + Duration::from_secs(10);
        let [one, two] = [1, 2].map(|id| BootId([id; 16]));
        let mut job = AtMostOnce::default();
        assert!(!job.may_be_there() && job.is_same_boot(one, SHORT, later));
        job.asked(now);
        assert!(job.may_be_there());
        assert!(job.is_same_boot(one, LONG, later), "it was up all the time");
        assert!(!job.is_same_boot(one, SHORT, later), "it has started since");
        job.welcomed(one);
        job.welcomed(two);
        job.asked(later);
        assert!(job.is_same_boot(one, LONG, later));
        assert!(!job.is_same_boot(two, LONG, later));
        assert!(!job.is_same_boot(one, SHORT, later), "it was heard of first after its start");
    }

    #[test]
    fn what_another_controller_has_asked_is_never_asked_without_its_time() {
        let (now, boot) = (Duration::from_secs(100), BootId([1; 16]));
        let job = AtMostOnce::of_before(None);
        assert!(job.may_be_there() && !job.is_same_boot(boot, Duration::MAX, now));
        let job = AtMostOnce::of_before(Some(Duration::from_secs(99)));
        assert!(job.may_be_there() && job.is_same_boot(boot, LONG, now));
        assert!(!job.is_same_boot(boot, SHORT, now));
    }
}
