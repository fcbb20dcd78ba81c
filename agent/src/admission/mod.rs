//! Admission: slots for unauthenticated peers, and penalties for sources whose logins failed.
//!
//! A state machine without I/O and without a clock: it is given events with their times, and returns what to
//! do. Its invariants: there are never more unauthenticated peers than slots; no newcomer is refused for want
//! of a slot (another peer is evicted instead, see [`eviction`]); nothing grows without bound; and neither a
//! session nor a peer whose login has arrived holds a slot.

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
    /// Stalled peers that one source may have at a time, unless it logged in lately.
    pub places_per_source: usize,
    /// Most unauthenticated peers at a time.
    pub places: usize,
    /// What failures cost.
    pub penalties: PenaltyRules,
    /// Networks that are never penalised and may use every slot.
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

/// An unauthenticated peer's slot. Later ones compare greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u64);

/// What to do with a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Close it at once: its source is penalised until this time.
    Penalised(Instant),
    /// Let the peer try to log in, and close the evicted peer's connection, if any.
    Admitted {
        /// The newcomer's slot.
        place: Slot,
        /// The slot of the evicted peer.
        evicted: Option<Slot>,
    },
}

/// How an unauthenticated connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The peer logged in.
    LoggedIn,
    /// The peer closed the connection before it sent a byte: a probe, or a health check.
    Nothing,
    /// Anything else.
    Failed,
}

/// The state of admission.
pub struct Admission {
    rules: Rules,
    penalties: Penalties,
    /// The peers that hold a slot, by age.
    unauthenticated: BTreeMap<Slot, Unauthenticated>,
    /// The peers whose login has arrived, by age. They wait for their denial, or for the main loop to handle
    /// their login.
    decided: BTreeMap<Slot, Unauthenticated>,
    /// Slots held by each source.
    counts: HashMap<Source, usize>,
    next: u64,
}

struct Unauthenticated {
    source: Source,
    exempt: bool,
    stage: Stage,
    /// When the peer reached its stage.
    since: Instant,
}

impl Admission {
    /// An empty state. Limits of 0 are taken as 1, so that a newcomer always gets a slot.
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

    /// Decides on a connection from `address` that arrived at `now`.
    pub fn connected(&mut self, address: IpAddr, now: Instant) -> Verdict {
        self.arrived(Source::of(address), self.is_exempt(address), now)
    }

    /// Decides on a connection that arrived at `now` through a gateway that this agent has dialled. Whoever comes
    /// through it, the gateway is not penalised: only controllers that it has let in do.
    pub fn connected_through_gateway(&mut self, now: Instant) -> Verdict {
        self.arrived(Source::Gateway, true, now)
    }

    fn arrived(&mut self, source: Source, exempt: bool, now: Instant) -> Verdict {
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

    /// Records the stage that a peer has reached. Returns a peer to cut off, if too many wait for their
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

    /// Records the end of a connection. An evicted peer has no slot to release, and is not penalised for
    /// having been slower than others.
    pub fn ended(&mut self, place: Slot, outcome: Outcome, now: Instant) {
        let Some(Unauthenticated { source, exempt, .. }) = self.release(place) else { return };
        match outcome {
            Outcome::LoggedIn => self.penalties.forgive(source, now),
            Outcome::Failed if !exempt => self.penalties.failed(source, now),
            Outcome::Failed | Outcome::Nothing => {}
        }
    }

    /// The peers that have not been answered yet.
    pub fn unanswered(&self) -> Vec<Slot> {
        let unanswered =
            self.unauthenticated.iter().filter(|(_, peer)| peer.stage == Stage::Silent);
        unanswered.map(|(place, _)| *place).collect()
    }

    /// The number of peers that hold a slot.
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
