//! Who may try to log in: places for unauthenticated peers, and penalties for those who failed.
//!
//! A state machine without I/O and without a clock: it is told what happened and when, and says what
//! to do. Its invariants: there are never more unauthenticated peers than places, nobody is refused for want of a
//! place (another unauthenticated peer goes instead, see [`eviction`]), nothing here grows without bound, and
//! neither a session nor an unauthenticated peer whose login has arrived holds a place.

mod eviction;
mod penalties;
mod progress;
mod source;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;

use penalties::Penalties;
pub use penalties::PenaltyRules;
pub use progress::{Hear, Progress, Stage, Tell, progress};
pub use source::Source;

/// What an operator may set.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Unauthenticated peers of one source at a time that may be stalled, unless it logged in lately.
    pub places_per_source: usize,
    /// Most unauthenticated peers at a time.
    pub places: usize,
    /// What failures cost.
    pub penalties: PenaltyRules,
    /// Networks that are never penalised and may use every place.
    pub exempt: Vec<IpNet>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            places_per_source: 16,
            places: 256,
            penalties: PenaltyRules::default(),
            exempt: Vec::new(),
        }
    }
}

/// An unauthenticated peer's place. Later ones are larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u64);

/// What to do with a connection that has just come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Close it at once: its source is penalised until then.
    Penalised(Instant),
    /// Let it try to log in, and first cut off the one whose place it takes, if any.
    Admitted {
        /// The newcomer's place.
        place: Slot,
        /// Who has to go.
        evicted: Option<Slot>,
    },
}

/// How an unauthenticated peer's time ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It logged in.
    LoggedIn,
    /// It closed the connection before it sent a byte: a probe, or a health check.
    Nothing,
    /// Anything else.
    Failed,
}

/// Everything that is known of unauthenticated peers.
pub struct Admission {
    rules: Rules,
    penalties: Penalties,
    /// By age: those that have a place.
    unauthenticated: BTreeMap<Slot, Unauthenticated>,
    /// By age: those whose login has arrived. They wait for their denial, or for us to notice that
    /// they are in.
    decided: BTreeMap<Slot, Unauthenticated>,
    /// Places of each source that has any.
    counts: HashMap<Source, usize>,
    next: u64,
}

struct Unauthenticated {
    source: Source,
    exempt: bool,
    stage: Stage,
    /// When it reached its stage.
    since: Instant,
}

impl Admission {
    /// Starts with nobody. Limits of 0 are taken as 1, so that a newcomer always finds a place.
    pub fn new(mut rules: Rules) -> Self {
        rules.places = rules.places.max(1);
        rules.places_per_source = rules.places_per_source.max(1);
        Self {
            penalties: Penalties::new(rules.penalties.clone()),
            rules,
            unauthenticated: BTreeMap::new(),
            decided: BTreeMap::new(),
            counts: HashMap::new(),
            next: 0,
        }
    }

    /// Decides about a connection from `address` that came at `now`.
    pub fn connected(&mut self, address: IpAddr, now: Instant) -> Verdict {
        let source = Source::of(address);
        let exempt = self.is_exempt(address);
        if let Some(until) = self.penalties.of(source, now)
            && !exempt
        {
            return Verdict::Penalised(until);
        }
        let evicted = self.whom_to_evict(source, exempt, now);
        if let Some(place) = evicted {
            self.release(place);
        }
        let place = Slot(self.next);
        self.next += 1;
        self.unauthenticated
            .insert(place, Unauthenticated { source, exempt, stage: Stage::Silent, since: now });
        *self.counts.entry(source).or_default() += 1;
        Verdict::Admitted { place, evicted }
    }

    /// Takes note of how far an unauthenticated peer has come. Returns whom to cut off, if too many wait for their
    /// denial.
    pub fn progressed(&mut self, place: Slot, stage: Stage, now: Instant) -> Option<Slot> {
        if stage < Stage::Decided {
            if let Some(unauthenticated) = self.unauthenticated.get_mut(&place) {
                (unauthenticated.stage, unauthenticated.since) = (stage, now);
            }
            return None;
        }
        let unauthenticated = self.release(place)?;
        let oldest = (self.decided.len() >= self.rules.places).then(|| self.decided.pop_first());
        self.decided.insert(place, unauthenticated);
        oldest.flatten().map(|(place, _)| place)
    }

    /// Takes note that the unauthenticated peer's time ended. One that was evicted has no place to give back, and
    /// is not penalised for having been slower than others.
    pub fn ended(&mut self, place: Slot, outcome: Outcome, now: Instant) {
        let Some(Unauthenticated { source, exempt, .. }) = self.release(place) else { return };
        match outcome {
            Outcome::LoggedIn => self.penalties.forgive(source, now),
            Outcome::Failed if !exempt => self.penalties.failed(source, now),
            Outcome::Failed | Outcome::Nothing => {}
        }
    }

    /// Unauthenticated peers at present that have a place.
    pub fn unauthenticated(&self) -> usize {
        self.unauthenticated.len()
    }

    fn is_exempt(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.rules.exempt.iter().any(|network| network.contains(&address))
    }

    fn release(&mut self, place: Slot) -> Option<Unauthenticated> {
        let Some(unauthenticated) = self.unauthenticated.remove(&place) else {
            return self.decided.remove(&place);
        };
        if let Some(count) = self.counts.get_mut(&unauthenticated.source) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&unauthenticated.source);
            }
        }
        Some(unauthenticated)
    }
}

#[cfg(test)]
mod tests;
