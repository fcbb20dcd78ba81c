//! Decides which unauthenticated peer loses its slot to a newcomer.
//!
//! An honest controller sends its ClientHello at once, and its login as soon as it is answered. It may lack
//! processor time, when a hundred of them start together on one machine. So age alone says nothing: the
//! oldest peer may be the nearest to its login. The mark of a flood is that its peers stall.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::{Admission, Slot, Source, Stage, Unauthenticated};

/// How long a peer may send nothing before it counts as stalled.
const SILENT: Duration = Duration::from_secs(1);

/// How long a peer may take to answer its challenge before it counts as stalled: on a busy machine the proof
/// takes a while.
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
    /// While slots are free, only stalled peers are evicted, and only by newcomers of their own source once
    /// it has its share. When no slot is free, the least promising peer is evicted.
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

    /// In order of preference: a peer of a source above its share; of a source without a recent login; a
    /// stalled peer; one at an early stage; one of the source with the most peers; the oldest.
    fn least_promising(&self, now: Instant) -> Option<Slot> {
        let key = |&(&place, unauthenticated): &(&Slot, &Unauthenticated)| {
            let known = self.is_known(unauthenticated.source, unauthenticated.exempt, now);
            let weight = self.weight(unauthenticated.source);
            // A known address can be shared with an attacker.
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
