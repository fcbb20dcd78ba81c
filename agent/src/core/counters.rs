//! What the events add up to since the agent's start, as metrics.
//!
//! Labels have few values, all of them known here: no label is text from outside.

use std::time::Duration;

use lariat_wire::auth::agent::Refused;
use lariat_wire::protocol::failure::{Cause, Failure, Limit};
use lariat_wire::protocol::verb::Verb;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::outcome::Outcome;
use crate::meter::{AgainLabel, Meter, TransferCounters};
use crate::policy::Rule;

/// The upper bounds of the buckets of requests' durations, in seconds: from a look to a long transfer.
const BUCKETS: [f64; 10] = [0.005, 0.05, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 21_600.0];

/// What the events add up to.
pub struct Counters {
    logins: Counter,
    login_failures: Family<CauseLabel, Counter>,
    denials: Family<CauseLabel, Counter>,
    limits: Family<LimitLabel, Counter>,
    requests: Family<RequestLabel, Counter>,
    durations: Family<VerbLabel, Histogram, fn() -> Histogram>,
    moved: Family<DirectionLabel, Counter>,
    reused: Family<DirectionLabel, Counter>,
    again: Family<AgainLabel, Counter>,
    output: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabel {
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabel {
    limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    verb: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabel {
    verb: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabel {
    direction: &'static str,
}

impl Default for Counters {
    fn default() -> Self {
        let counters = Self {
            logins: Counter::default(),
            login_failures: Family::default(),
            denials: Family::default(),
            limits: Family::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            moved: Family::default(),
            reused: Family::default(),
            again: Family::default(),
            output: Counter::default(),
        };
        // What has not happened yet is zero, so that an alert on its first time works.
        for direction in DIRECTIONS {
            drop(counters.moved.get_or_create(&DirectionLabel { direction }));
            drop(counters.reused.get_or_create(&DirectionLabel { direction }));
        }
        for limit in [Limit::Sessions, Limit::Jobs, Limit::Memory, Limit::Output] {
            drop(counters.limits.get_or_create(&LimitLabel { limit: limit_name(limit) }));
        }
        for label in AgainLabel::all() {
            drop(counters.again.get_or_create(&label));
        }
        for cause in LOGIN_CAUSES {
            drop(counters.login_failures.get_or_create(&CauseLabel { cause }));
        }
        counters
    }
}

impl Counters {
    /// Registers all of them.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("logins", "Logins", self.logins.clone());
        let failures = self.login_failures.clone();
        registry.register("login_failures", "Connections that failed to log in", failures);
        registry.register("denials", "Requests that were refused, by rule", self.denials.clone());
        let limits = self.limits.clone();
        registry.register("limit_refusals", "Refusals because of a limit", limits);
        let requests = self.requests.clone();
        registry.register("requests", "Requests that have ended", requests);
        let durations = self.durations.clone();
        let help = "How long requests took";
        registry.register_with_unit("request_duration", help, Unit::Seconds, durations);
        let help = "Bytes of files that transfers have moved";
        registry.register_with_unit("transfer", help, Unit::Bytes, self.moved.clone());
        let help = "Bytes of files that were there already";
        registry.register_with_unit("transfer_reused", help, Unit::Bytes, self.reused.clone());
        let help = "Chunks of files that were sent once more";
        registry.register("transfer_chunk_retries", help, self.again.clone());
        let help = "Bytes that commands have written";
        registry.register_with_unit("command_output", help, Unit::Bytes, self.output.clone());
    }

    /// How often this limit kept somebody from something.
    pub fn refusals(&self, limit: Limit) -> u64 {
        self.limits.get_or_create(&LimitLabel { limit: limit_name(limit) }).get()
    }

    /// A limit kept somebody from something.
    pub fn limit_reached(&self, limit: Limit) {
        self.limits.get_or_create(&LimitLabel { limit: limit_name(limit) }).inc();
    }

    /// Somebody could not log in.
    pub fn login_failed(&self, refused: &Refused) {
        self.login_failures.get_or_create(&CauseLabel { cause: login_cause(refused) }).inc();
    }

    /// A meter for a transfer to or from this host.
    pub(super) fn meter(&self, is_push: bool) -> Meter {
        let [pull, push] = DIRECTIONS;
        let label = DirectionLabel { direction: if is_push { push } else { pull } };
        Meter::counting(TransferCounters {
            moved: self.moved.get_or_create_owned(&label),
            had: self.reused.get_or_create_owned(&label),
            again: self.again.clone(),
        })
    }

    /// Somebody has logged in.
    pub(super) fn logged_in(&self) {
        self.logins.inc();
    }

    /// A request was refused.
    pub(super) fn refused(&self, failure: &Failure) {
        self.denials.get_or_create(&CauseLabel { cause: cause(failure) }).inc();
        self.at_limit(failure);
    }

    /// A request has ended.
    pub(super) fn finished(&self, verb: Verb, took: Duration, outcome: &Outcome) {
        let (verb, result) = (verb.as_str(), result(outcome));
        self.requests.get_or_create(&RequestLabel { verb, result }).inc();
        self.durations.get_or_create(&VerbLabel { verb }).observe(took.as_secs_f64());
        match outcome {
            Outcome::Failed(failure) => self.at_limit(failure),
            Outcome::Exited(exit, _) => {
                self.output.inc_by(exit.stdout.saturating_add(exit.stderr));
            }
            Outcome::Done(_) | Outcome::Over(_) | Outcome::Abandoned => {}
        }
    }

    fn at_limit(&self, failure: &Failure) {
        if let Cause::AtLimit(limit) = failure.cause {
            self.limit_reached(limit);
        }
    }
}

/// From this host, and to it.
const DIRECTIONS: [&str; 2] = ["out", "in"];

const LOGIN_CAUSES: [&str; 5] = ["malformed", "version", "key", "now", "randomness"];

fn login_cause(refused: &Refused) -> &'static str {
    let [malformed, version, key, now, randomness] = LOGIN_CAUSES;
    match refused {
        Refused::Malformed => malformed,
        Refused::Version => version,
        Refused::Key(_) => key,
        Refused::Now(_) => now,
        Refused::Randomness(_) => randomness,
    }
}

fn limit_name(limit: Limit) -> &'static str {
    match limit {
        Limit::Sessions => "sessions",
        Limit::Jobs => "jobs",
        Limit::Memory => "memory",
        Limit::Output => "output",
    }
}

fn result(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done(_) | Outcome::Exited(..) => "done",
        Outcome::Failed(_) | Outcome::Over(_) => "failed",
        Outcome::Abandoned => "abandoned",
    }
}

/// The rule that a refusal is by, or what else is in the way.
fn cause(failure: &Failure) -> &'static str {
    match &failure.cause {
        Cause::NotPermitted { rule, .. } => {
            let name = rule.split(": ").next().unwrap_or_default();
            let known = Rule::ALL.iter().map(|rule| rule.as_str());
            known.into_iter().find(|known| *known == name).unwrap_or("rule")
        }
        Cause::AtLimit(_) => "limits",
        Cause::CannotRecord => "audit",
        _ => "request",
    }
}
