//! Whose place a newcomer takes.
//!
//! An honest controller sends its ClientHello at once and its login as soon as it is answered; what it
//! may lack is processor time, when a hundred of them start together on one machine. So age alone says
//! nothing: whoever came first is nearest to its login. What tells a flood is that it stalls.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::{Admission, Slot, Source, Stage, Unauthenticated};

/// How long an unauthenticated peer may be silent before it counts as stalled.
const SILENT: Duration = Duration::from_secs(1);

/// How long a peer that was sent its challenge may be silent before it counts as stalled: on a crowded machine
/// the proof takes its time.
const GREETED: Duration = Duration::from_secs(5);

impl Unauthenticated {
    fn is_stalled(&self, now: Instant) -> bool {
        let patience = match self.stage {
            Stage::Silent => SILENT,
            Stage::Greeted | Stage::Decided => GREETED,
        };
        now.saturating_duration_since(self.since) >= patience
    }
}

impl Admission {
    /// Below all places only the stalled go, and only for newcomers of their own source when it has
    /// its share. When all are taken, somebody has to go.
    pub(super) fn whom_to_evict(
        &self,
        newcomer: Source,
        exempt: bool,
        now: Instant,
    ) -> Option<Slot> {
        if self.unauthenticated.len() >= self.rules.places {
            return self.least_promising(now);
        }
        if self.weight(newcomer) < self.rules.places_per_source
            || self.is_known(newcomer, exempt, now)
        {
            return None;
        }
        let stalled = |unauthenticated: &Unauthenticated| {
            unauthenticated.source == newcomer && unauthenticated.is_stalled(now)
        };
        self.unauthenticated
            .iter()
            .find(|(_, unauthenticated)| stalled(unauthenticated))
            .map(|(&place, _)| place)
    }

    /// Of sources that have more than their share, then of those that nobody logged in from lately;
    /// among them who stalled, who is silent, who has the most company, who is oldest.
    fn least_promising(&self, now: Instant) -> Option<Slot> {
        let key = |&(&place, unauthenticated): &(&Slot, &Unauthenticated)| {
            let known = self.is_known(unauthenticated.source, unauthenticated.exempt, now);
            let weight = self.weight(unauthenticated.source);
            // A known address can be shared with somebody who floods.
            let most = if known { self.rules.places / 2 } else { self.rules.places_per_source };
            let has_its_share = weight <= most;
            (
                has_its_share,
                known && has_its_share,
                !unauthenticated.is_stalled(now),
                unauthenticated.stage,
                Reverse(weight),
                place,
            )
        };
        self.unauthenticated.iter().min_by_key(key).map(|(&place, _)| place)
    }

    fn is_known(&self, source: Source, exempt: bool, now: Instant) -> bool {
        exempt || self.penalties.logged_in_lately(source, now)
    }

    fn weight(&self, source: Source) -> usize {
        self.counts.get(&source).copied().unwrap_or(0)
    }
}
