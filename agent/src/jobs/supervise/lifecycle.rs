//! When a job is ended, when its output stops being read, and when its supervisor may leave. No clock
//! and no I/O.
//!
//! - A job is ended (SIGTERM to its tree, SIGKILL [`KILL_AFTER`] later) when its time is over, when no
//!   agent was there for its grace time, or when the supervisor itself is told to stop.
//! - Once the command was reaped, its output goes on counting while something comes: until both
//!   pipes are closed, nothing came for [`DRAIN_QUIET`], or [`DRAIN_MAX`] has passed. What the command
//!   itself had written is read in any case. A process that it left behind goes on without us.
//! - The supervisor leaves once everything was delivered, or nobody came for it within the grace time,
//!   but never before a tree that is being ended is gone. A detached job has no grace time: nobody need
//!   come, and it leaves as soon as all is over. One that was told to stop, as when the host goes down, waits
//!   for nobody but an agent that is there, and for that no longer than [`STOP_WAIT`].
//!
//! Invariant: what [`Lifecycle::step`] has not looked at is due now. A change that came after it, with a time that
//! has passed already, can't be slept over.

use crate::jobs::words::End;
use std::time::{Duration, Instant};

/// From SIGTERM to SIGKILL.
pub(super) const KILL_AFTER: Duration = Duration::from_secs(5);

/// After SIGKILL, how often the tree is looked through for processes that were born meanwhile.
pub(super) const KILL_AGAIN: Duration = Duration::from_millis(50);

/// Longest time that output is read after the command's end.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Silence after the command's end that ends the reading: long enough for a `tee` behind it to finish.
pub(super) const DRAIN_QUIET: Duration = Duration::from_millis(300);

/// How long a supervisor that was told to stop waits, once all is over, for its agent to have passed it on.
pub(super) const STOP_WAIT: Duration = Duration::from_secs(1);

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// SIGTERM to the whole tree.
    Terminate,
    /// SIGKILL to the whole tree.
    Kill,
    /// The supervisor's work is over.
    Leave,
}

/// A job's life.
pub(super) struct Lifecycle {
    timeout: Option<Instant>,
    /// Why the command was ended here, if it was.
    cause: Option<End>,
    grace: Option<Duration>,
    away: Option<Instant>,
    ending: Ending,
    end: Option<(Instant, End)>,
    last_output: Option<Instant>,
    /// When its output was read to its end.
    drained: Option<Instant>,
    released: bool,
    /// The supervisor was told to stop.
    stopped: bool,
    /// Something has changed that [`Lifecycle::step`] has not looked at.
    changed: bool,
}

/// How far the ending of the tree is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    No,
    Asked,
    Terminated { kill_at: Instant },
    Killed { again_at: Instant },
    Gone,
}

impl Lifecycle {
    /// A command that was started now, with its agent there. Without a grace time it is detached.
    pub(super) fn new(now: Instant, timeout: Option<Duration>, grace: Option<Duration>) -> Self {
        Self {
            timeout: timeout.and_then(|timeout| now.checked_add(timeout)),
            cause: None,
            grace,
            away: None,
            ending: Ending::No,
            end: None,
            last_output: None,
            drained: None,
            released: false,
            stopped: false,
            changed: true,
        }
    }

    /// An agent came or went.
    pub(super) fn attended(&mut self, now: Instant, there: bool) {
        self.away = if there { None } else { self.away.or(Some(now)) };
        self.changed = true;
    }

    /// Whether no agent is there.
    pub(super) fn is_alone(&self) -> bool {
        self.away.is_some()
    }

    /// The job is to be ended whole.
    pub(super) fn end_it(&mut self) {
        if self.ending == Ending::No {
            self.ending = Ending::Asked;
            self.changed = true;
        }
    }

    /// The supervisor was told to stop, and so is to end the job. `all` processes of the host have been told
    /// so already: they are not told twice.
    pub(super) fn stop(&mut self, now: Instant, all: bool) {
        self.stopped = true;
        self.changed = true;
        if self.ending == Ending::No && self.end.is_none() {
            self.cause.get_or_insert(End::Stopped);
            self.ending =
                if all { Ending::Terminated { kill_at: now + KILL_AFTER } } else { Ending::Asked };
        }
    }

    /// The job was sent SIGKILL and must be gone.
    pub(super) fn killed(&mut self, now: Instant) {
        if self.ending != Ending::Gone {
            self.ending = Ending::Killed { again_at: now + KILL_AGAIN };
            self.changed = true;
        }
    }

    /// The command itself was reaped.
    pub(super) fn ended(&mut self, now: Instant, end: End) {
        self.end.get_or_insert((now, self.cause.unwrap_or(end)));
        self.changed = true;
    }

    /// No process of the job is left.
    pub(super) fn childless(&mut self) {
        if self.ending != Ending::No {
            self.ending = Ending::Gone;
            self.changed = true;
        }
    }

    /// Output came.
    pub(super) fn output(&mut self, now: Instant) {
        if self.end.is_some() {
            self.last_output = Some(now);
        }
    }

    /// Nothing more will be read of the output.
    pub(super) fn drained(&mut self, now: Instant) {
        self.changed |= self.drained.is_none();
        self.drained.get_or_insert(now);
    }

    /// The controller has everything.
    pub(super) fn release(&mut self) {
        self.released = self.drained.is_some() && self.end.is_some();
        self.changed = true;
    }

    /// How the command ended, once all its output was read.
    pub(super) fn over(&self) -> Option<End> {
        self.end.filter(|_| self.drained.is_some()).map(|(_, end)| end)
    }

    /// Whether the command was reaped.
    pub(super) fn is_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Whether nothing more than what the command itself had written is to be read.
    pub(super) fn drain_is_over(&self, now: Instant) -> bool {
        self.drain_until().is_some_and(|until| until <= now)
    }

    /// Whether the command is over, and what is left of it was left behind on purpose.
    pub(super) fn is_whole(&self) -> bool {
        self.end.is_some() && matches!(self.ending, Ending::No | Ending::Gone)
    }

    /// Whether nobody came for the job within its grace time.
    pub(super) fn grace_expired(&self, now: Instant) -> bool {
        self.grace_until().is_some_and(|until| until <= now)
    }

    /// Whether the supervisor was told to stop.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether the controller has everything.
    pub(super) fn is_released(&self) -> bool {
        self.released
    }

    fn drain_until(&self) -> Option<Instant> {
        let (ended, _) = self.end?;
        let last = self.last_output.unwrap_or(ended);
        Some((last + DRAIN_QUIET).min(ended + DRAIN_MAX))
    }

    fn grace_until(&self) -> Option<Instant> {
        self.away.and_then(|away| away.checked_add(self.grace?))
    }

    /// When one that was told to stop leaves, whether its agent has passed everything on or not.
    fn stop_until(&self) -> Option<Instant> {
        let drained = self.drained.filter(|_| self.stopped)?;
        Some(if self.is_alone() { drained } else { drained + STOP_WAIT })
    }

    /// The next thing to do, until there is none.
    pub(super) fn step(&mut self, now: Instant) -> Option<Action> {
        self.changed = false;
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if self.end.is_none() && self.ending == Ending::No {
            self.cause = if passed(self.timeout) {
                Some(End::TimedOut)
            } else {
                Some(End::GraceExpired).filter(|_| self.grace_expired(now))
            };
            if self.cause.is_some() {
                self.ending = Ending::Asked;
            }
        }
        match self.ending {
            Ending::Asked => {
                self.ending = Ending::Terminated { kill_at: now + KILL_AFTER };
                return Some(Action::Terminate);
            }
            Ending::Terminated { kill_at: at } | Ending::Killed { again_at: at } if at <= now => {
                self.ending = Ending::Killed { again_at: now + KILL_AGAIN };
                return Some(Action::Kill);
            }
            Ending::No | Ending::Terminated { .. } | Ending::Killed { .. } | Ending::Gone => {}
        }
        let done = self.released || self.grace.is_none() || self.grace_expired(now);
        let done = done || passed(self.stop_until());
        (self.over().is_some() && self.is_whole() && done).then_some(Action::Leave)
    }

    /// When [`Lifecycle::step`] and the others may have a new answer if nothing happens before. `now` is when they
    /// were asked last.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        if self.changed {
            return Some(now);
        }
        let ending = match self.ending {
            Ending::Terminated { kill_at: at } | Ending::Killed { again_at: at } => Some(at),
            Ending::No | Ending::Asked | Ending::Gone => None,
        };
        let ended = self.end.is_some();
        let timeout = self.timeout.filter(|_| !ended && self.ending == Ending::No);
        let grace = self.grace_until().filter(|_| ended || self.ending == Ending::No);
        let drain = self.drain_until().filter(|_| self.drained.is_none());
        let stop = self.stop_until();
        [ending, timeout, grace, drain, stop].into_iter().flatten().filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests;
