//! Decides when a job is ended, when its output is no longer read, and when its supervisor exits. No clock and
//! no I/O.
//!
//! - A job is ended (SIGTERM to its tree, SIGKILL [`KILL_AFTER`] later) when its time limit is over, when no
//!   session followed it for its grace time, or when the supervisor is told to stop.
//! - Once the command was reaped, its output is still read while something arrives: until both pipes are
//!   closed, nothing arrived for [`DRAIN_QUIET`], or [`DRAIN_MAX`] has passed. What the command itself had
//!   written is always read. A process that it left running continues without the supervisor.
//! - The supervisor exits once everything was delivered, or no session followed the job within the grace time,
//!   but never before a tree that is being ended is gone. A detached job has no grace time: its supervisor
//!   exits as soon as the job is over. A supervisor that was told to stop, as at shutdown, only waits for a
//!   connected session, and no longer than [`STOP_WAIT`].
//!
//! Invariant: a change that [`Lifecycle::step`] has not seen makes the deadline now. So a change after the
//! step, with a deadline that has already passed, can't be missed by sleeping.

use crate::jobs::words::End;
use std::time::{Duration, Instant};

/// Time from SIGTERM to SIGKILL.
pub(super) const KILL_AFTER: Duration = Duration::from_secs(5);

/// After SIGKILL, how often the tree is searched for processes that were forked meanwhile.
pub(super) const KILL_AGAIN: Duration = Duration::from_millis(50);

/// Longest time that output is read after the command's end.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Silence after the command's end that stops reading: long enough for a `tee` behind it to finish.
pub(super) const DRAIN_QUIET: Duration = Duration::from_millis(300);

/// How long a supervisor that was told to stop waits, once the job is over, for its agent to deliver the exit.
pub(super) const STOP_WAIT: Duration = Duration::from_secs(1);

/// The next action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// SIGTERM to the whole tree.
    Terminate,
    /// SIGKILL to the whole tree.
    Kill,
    /// The supervisor exits.
    Leave,
}

/// A job's lifecycle.
pub(super) struct Lifecycle {
    timeout: Option<Instant>,
    /// Why the supervisor ended the command, if it did.
    cause: Option<End>,
    grace: Option<Duration>,
    away: Option<Instant>,
    ending: Ending,
    end: Option<(Instant, End)>,
    last_output: Option<Instant>,
    /// When its output was read completely.
    drained: Option<Instant>,
    released: bool,
    /// The supervisor was told to stop.
    stopped: bool,
    /// State changed since the last [`Lifecycle::step`].
    changed: bool,
}

/// The progress of ending the tree.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    No,
    Asked,
    Terminated { kill_at: Instant },
    Killed { again_at: Instant },
    Gone,
}

impl Lifecycle {
    /// A command that was started now, with a connected session. Without a grace time it is detached.
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

    /// The following session connected (`there`) or disconnected.
    pub(super) fn attended(&mut self, now: Instant, there: bool) {
        self.away = if there { None } else { self.away.or(Some(now)) };
        self.changed = true;
    }

    /// Whether no session follows the job.
    pub(super) fn is_unattended(&self) -> bool {
        self.away.is_some()
    }

    /// Ends all of the job's processes.
    pub(super) fn end_job(&mut self) {
        if self.ending == Ending::No {
            self.ending = Ending::Asked;
            self.changed = true;
        }
    }

    /// The supervisor was told to stop, and ends the job. With `all`, every process of the host received
    /// SIGTERM already, so it is not sent again.
    pub(super) fn stop(&mut self, now: Instant, all: bool) {
        self.stopped = true;
        self.changed = true;
        if self.ending == Ending::No && self.end.is_none() {
            self.cause.get_or_insert(End::Stopped);
            self.ending =
                if all { Ending::Terminated { kill_at: now + KILL_AFTER } } else { Ending::Asked };
        }
    }

    /// SIGKILL was sent to the job; processes that survive get it again.
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

    /// Output arrived.
    pub(super) fn output(&mut self, now: Instant) {
        if self.end.is_some() {
            self.last_output = Some(now);
        }
    }

    /// No more output will be read.
    pub(super) fn drained(&mut self, now: Instant) {
        self.changed |= self.drained.is_none();
        self.drained.get_or_insert(now);
    }

    /// The controller has received everything.
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

    /// Whether only what the command itself had written is still read.
    pub(super) fn drain_is_over(&self, now: Instant) -> bool {
        self.drain_until().is_some_and(|until| until <= now)
    }

    /// Whether the command is over and its tree is not being ended: remaining processes may continue.
    pub(super) fn is_settled(&self) -> bool {
        self.end.is_some() && matches!(self.ending, Ending::No | Ending::Gone)
    }

    /// Whether no session followed the job within its grace time.
    pub(super) fn grace_expired(&self, now: Instant) -> bool {
        self.grace_until().is_some_and(|until| until <= now)
    }

    /// Whether the supervisor was told to stop.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether the controller has received everything.
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

    /// When a supervisor that was told to stop exits, delivered or not.
    fn stop_until(&self) -> Option<Instant> {
        let drained = self.drained.filter(|_| self.stopped)?;
        Some(if self.is_unattended() { drained } else { drained + STOP_WAIT })
    }

    /// Returns the next action, or `None` if nothing is due.
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
        (self.over().is_some() && self.is_settled() && done).then_some(Action::Leave)
    }

    /// When to call [`Lifecycle::step`] and the other queries again if nothing happens before. `now` is the
    /// time of the last calls.
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
