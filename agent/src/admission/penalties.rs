//! Penalties: after failed logins, a source's connections are closed at once for some time. The time doubles
//! with each failure, and failures are forgotten one by one. Both tables are bounded: when one is full, its
//! oldest entry is dropped.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::source::Source;

/// Most sources in either table. An entry takes less than 64 bytes.
const REMEMBERED: usize = 4096;

/// What failures cost.
#[derive(Clone, Debug)]
pub struct PenaltyRules {
    /// Failures that cost nothing: a person mistakes a key once or twice.
    pub free: u32,
    /// The first penalty; each further failure doubles it.
    pub first: Duration,
    /// The longest penalty.
    pub longest: Duration,
    /// Time without a failure after which one failure is forgotten.
    pub forget_after: Duration,
    /// How long a login keeps its source free of penalties.
    pub login_counts_for: Duration,
}

impl Default for PenaltyRules {
    fn default() -> Self {
        Self {
            free: 2,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(60),
            forget_after: Duration::from_secs(60),
            login_counts_for: Duration::from_secs(3600),
        }
    }
}

pub(super) struct Penalties {
    rules: PenaltyRules,
    failures: HashMap<Source, Failures>,
    logins: HashMap<Source, Instant>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
    until: Instant,
}

impl Penalties {
    pub(super) fn new(rules: PenaltyRules) -> Self {
        Self { rules, failures: HashMap::new(), logins: HashMap::new() }
    }

    /// The end of the source's penalty, if it is penalised at `now`.
    pub(super) fn of(&self, source: Source, now: Instant) -> Option<Instant> {
        let until = self.failures.get(&source)?.until;
        (until > now && !self.logged_in_lately(source, now)).then_some(until)
    }

    /// Records a failed login of this source.
    pub(super) fn failed(&mut self, source: Source, now: Instant) {
        if self.logged_in_lately(source, now) {
            return;
        }
        let before = self.failures.get(&source).map_or(0, |past| self.remembered(past, now));
        let count = before.saturating_add(1);
        let until = now + self.penalty(count);
        make_room(&mut self.failures, source, |past| past.last);
        self.failures.insert(source, Failures { count, last: now, until });
    }

    /// Records a login from this source.
    pub(super) fn forgive(&mut self, source: Source, now: Instant) {
        self.failures.remove(&source);
        make_room(&mut self.logins, source, |&login| login);
        self.logins.insert(source, now);
    }

    /// Whether a peer logged in from this source not long ago.
    pub(super) fn logged_in_lately(&self, source: Source, now: Instant) -> bool {
        let lately = |login| now.saturating_duration_since(login) < self.rules.login_counts_for;
        self.logins.get(&source).copied().is_some_and(lately)
    }

    /// Failures that are not forgotten yet.
    fn remembered(&self, past: &Failures, now: Instant) -> u32 {
        let quiet = now.saturating_duration_since(past.last).as_millis();
        let step = self.rules.forget_after.as_millis().max(1);
        past.count.saturating_sub(u32::try_from(quiet / step).unwrap_or(u32::MAX))
    }

    fn penalty(&self, count: u32) -> Duration {
        let Some(doublings) = count.checked_sub(self.rules.free.saturating_add(1)) else {
            return Duration::ZERO;
        };
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        self.rules.first.saturating_mul(factor).min(self.rules.longest)
    }
}

/// Drops the oldest entry if a new key would be one too many. `age` returns when an entry was made.
fn make_room<K: Copy + Eq + Hash, V>(
    table: &mut HashMap<K, V>,
    key: K,
    age: impl Fn(&V) -> Instant,
) {
    if table.len() < REMEMBERED || table.contains_key(&key) {
        return;
    }
    let oldest = table.iter().min_by_key(|(_, value)| age(value)).map(|(&key, _)| key);
    oldest.and_then(|oldest| table.remove(&oldest));
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Source = Source::V6(1);

    fn penalties() -> Penalties {
        Penalties::new(PenaltyRules::default())
    }

    fn fail(penalties: &mut Penalties, times: u32, now: Instant) -> Duration {
        (0..times).for_each(|_| penalties.failed(SOURCE, now));
        penalties.of(SOURCE, now).map_or(Duration::ZERO, |until| until - now)
    }

    #[test]
    fn two_are_free_then_it_doubles_to_a_minute() {
        let (mut penalties, now) = (penalties(), Instant::now());
        assert_eq!(fail(&mut penalties, 2, now), Duration::ZERO);
        assert_eq!(fail(&mut penalties, 1, now), Duration::from_millis(500));
        assert_eq!(fail(&mut penalties, 1, now), Duration::from_secs(1));
        assert_eq!(fail(&mut penalties, 1, now), Duration::from_secs(2));
        assert_eq!(fail(&mut penalties, 20, now), Duration::from_secs(60));
        assert_eq!(fail(&mut penalties, 1000, now), Duration::from_secs(60));
    }

    #[test]
    fn it_ends_by_itself_and_is_forgotten_step_by_step() {
        let (mut penalties, now) = (penalties(), Instant::now());
        fail(&mut penalties, 4, now);
        assert!(penalties.of(SOURCE, now + Duration::from_millis(999)).is_some());
        assert!(penalties.of(SOURCE, now + Duration::from_secs(1)).is_none());
        // Two minutes forget two of the four: the next is the third again.
        let later = now + Duration::from_secs(120);
        assert_eq!(fail(&mut penalties, 1, later), Duration::from_millis(500));
    }

    #[test]
    fn a_login_forgives_and_protects_for_an_hour() {
        let (mut penalties, now) = (penalties(), Instant::now());
        fail(&mut penalties, 9, now);
        penalties.forgive(SOURCE, now);
        assert_eq!(fail(&mut penalties, 9, now + Duration::from_secs(3599)), Duration::ZERO);
        assert_ne!(fail(&mut penalties, 9, now + Duration::from_secs(3600)), Duration::ZERO);
    }

    #[test]
    fn the_tables_are_bounded_and_the_oldest_goes() {
        let (mut penalties, now) = (penalties(), Instant::now());
        for i in 0..2 * REMEMBERED as u64 {
            let now = now + Duration::from_millis(i);
            (0..3).for_each(|_| penalties.failed(Source::V6(i), now));
            penalties.forgive(Source::V6(1 << 40 | i), now);
        }
        assert_eq!((penalties.failures.len(), penalties.logins.len()), (REMEMBERED, REMEMBERED));
        assert!(penalties.of(Source::V6(0), now).is_none());
        assert!(penalties.of(Source::V6(2 * REMEMBERED as u64 - 1), now).is_some());
    }
}
