//! Who may try to log in: places for strangers, and penalties for those who failed.
//!
//! A state machine without I/O and without a clock: it is told what happened and when, and says what
//! to do. Its invariants: there are never more strangers than places, nobody is refused for want of a
//! place (another stranger goes instead, see [`eviction`]), nothing here grows without bound, and
//! neither a session nor a stranger whose login has arrived holds a place.

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
    /// Strangers of one source at a time that may be stalled, unless it logged in lately.
    pub places_per_source: usize,
    /// Most strangers at a time.
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

/// A stranger's place. Later ones are larger.
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

/// How a stranger's time ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It logged in, and is no stranger any more.
    LoggedIn,
    /// It closed the connection before it sent a byte: a probe, or a health check.
    Nothing,
    /// Anything else.
    Failed,
}

/// Everything that is known of strangers.
pub struct Admission {
    rules: Rules,
    penalties: Penalties,
    /// By age: those that have a place.
    strangers: BTreeMap<Slot, Stranger>,
    /// By age: those whose login has arrived. They wait for their denial, or for us to notice that
    /// they are in.
    decided: BTreeMap<Slot, Stranger>,
    /// Places of each source that has any.
    counts: HashMap<Source, usize>,
    next: u64,
}

struct Stranger {
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
            strangers: BTreeMap::new(),
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
        self.strangers.insert(place, Stranger { source, exempt, stage: Stage::Silent, since: now });
        *self.counts.entry(source).or_default() += 1;
        Verdict::Admitted { place, evicted }
    }

    /// Takes note of how far a stranger has come. Returns whom to cut off, if too many wait for their
    /// denial.
    pub fn progressed(&mut self, place: Slot, stage: Stage, now: Instant) -> Option<Slot> {
        if stage < Stage::Decided {
            if let Some(stranger) = self.strangers.get_mut(&place) {
                (stranger.stage, stranger.since) = (stage, now);
            }
            return None;
        }
        let stranger = self.release(place)?;
        let oldest = (self.decided.len() >= self.rules.places).then(|| self.decided.pop_first());
        self.decided.insert(place, stranger);
        oldest.flatten().map(|(place, _)| place)
    }

    /// Takes note that the stranger's time ended. One that was evicted has no place to give back, and
    /// is not penalised for having been slower than others.
    pub fn ended(&mut self, place: Slot, outcome: Outcome, now: Instant) {
        let Some(Stranger { source, exempt, .. }) = self.release(place) else { return };
        match outcome {
            Outcome::LoggedIn => self.penalties.forgive(source, now),
            Outcome::Failed if !exempt => self.penalties.failed(source, now),
            Outcome::Failed | Outcome::Nothing => {}
        }
    }

    /// Strangers at present that have a place.
    pub fn strangers(&self) -> usize {
        self.strangers.len()
    }

    fn is_exempt(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.rules.exempt.iter().any(|network| network.contains(&address))
    }

    fn release(&mut self, place: Slot) -> Option<Stranger> {
        let Some(stranger) = self.strangers.remove(&place) else {
            return self.decided.remove(&place);
        };
        if let Some(count) = self.counts.get_mut(&stranger.source) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&stranger.source);
            }
        }
        Some(stranger)
    }
}

#[cfg(test)]
mod tests;
