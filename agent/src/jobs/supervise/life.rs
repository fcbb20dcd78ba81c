//! When a job is ended, when its output stops being read, and when its supervisor may leave. No clock
//! and no I/O.
//!
//! - A job is ended (SIGTERM to its tree, SIGKILL [`KILL_AFTER`] later) when its time is over, when no
//!   agent was there for its grace time, or when the supervisor itself is told to stop.
//! - Once the command was reaped, its output goes on being read while something comes: until both
//!   pipes are closed, nothing came for [`DRAIN_QUIET`], or [`DRAIN_MAX`] has passed. What the command
//!   itself had written is read in any case. A process that it left behind goes on without us.
//! - The supervisor leaves once everything was delivered, or nobody came for it within the grace time,
//!   but never before a tree that is being ended is gone. A detached job has no grace time: nobody need
//!   come, and it leaves as soon as all is over.

use std::time::{Duration, Instant};

use lariat_common::protocol::exec::End;

/// From SIGTERM to SIGKILL.
pub(super) const KILL_AFTER: Duration = Duration::from_secs(5);

/// After SIGKILL, how often the tree is looked through for processes that were born meanwhile.
pub(super) const KILL_AGAIN: Duration = Duration::from_millis(50);

/// Longest time that output is read after the command's end.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Silence after the command's end that ends the reading: long enough for a `tee` behind it to finish.
pub(super) const DRAIN_QUIET: Duration = Duration::from_millis(300);

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
pub(super) struct Life {
    timeout: Option<Instant>,
    timed_out: bool,
    grace: Option<Duration>,
    away: Option<Instant>,
    ending: Ending,
    end: Option<(Instant, End)>,
    last_output: Option<Instant>,
    drained: bool,
    released: bool,
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

impl Life {
    /// A command that was started now, with its agent there. Without a grace time it is detached.
    pub(super) fn new(now: Instant, timeout: Option<Duration>, grace: Option<Duration>) -> Self {
        Self {
            timeout: timeout.and_then(|timeout| now.checked_add(timeout)),
            timed_out: false,
            grace,
            away: None,
            ending: Ending::No,
            end: None,
            last_output: None,
            drained: false,
            released: false,
        }
    }

    /// An agent came or went.
    pub(super) fn attended(&mut self, now: Instant, there: bool) {
        self.away = if there { None } else { self.away.or(Some(now)) };
    }

    /// Whether no agent is there.
    pub(super) fn is_alone(&self) -> bool {
        self.away.is_some()
    }

    /// The job is to be ended whole.
    pub(super) fn end_it(&mut self) {
        if self.ending == Ending::No {
            self.ending = Ending::Asked;
        }
    }

    /// The job was sent SIGKILL and must be gone.
    pub(super) fn killed(&mut self, now: Instant) {
        if self.ending != Ending::Gone {
            self.ending = Ending::Killed { again_at: now + KILL_AGAIN };
        }
    }

    /// The command itself was reaped.
    pub(super) fn ended(&mut self, now: Instant, end: End) {
        let end = if self.timed_out { End::TimedOut } else { end };
        self.end.get_or_insert((now, end));
    }

    /// No process of the job is left.
    pub(super) fn childless(&mut self) {
        if self.ending != Ending::No {
            self.ending = Ending::Gone;
        }
    }

    /// Output came.
    pub(super) fn output(&mut self, now: Instant) {
        if self.end.is_some() {
            self.last_output = Some(now);
        }
    }

    /// Nothing more will be read of the output.
    pub(super) fn drained(&mut self) {
        self.drained = true;
    }

    /// The controller has everything.
    pub(super) fn release(&mut self) {
        self.released = self.drained && self.end.is_some();
    }

    /// How the command ended, once all its output was read.
    pub(super) fn over(&self) -> Option<End> {
        self.end.filter(|_| self.drained).map(|(_, end)| end)
    }

    /// Whether the command was reaped.
    pub(super) fn is_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Whether nothing more than what the command itself had written is to be read.
    pub(super) fn drain_is_over(&self, now: Instant) -> bool {
        self.drain_until().is_some_and(|until| until <= now)
    }

    /// Whether nobody came for the job within its grace time.
    pub(super) fn is_forsaken(&self, now: Instant) -> bool {
        self.grace_until().is_some_and(|until| until <= now)
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

    /// The next thing to do, until there is none.
    pub(super) fn step(&mut self, now: Instant) -> Option<Action> {
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if self.end.is_none() && self.ending == Ending::No {
            self.timed_out = passed(self.timeout);
            if self.timed_out || self.is_forsaken(now) {
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
        let whole = matches!(self.ending, Ending::No | Ending::Gone);
        let done = self.released || self.grace.is_none() || self.is_forsaken(now);
        (self.over().is_some() && whole && done).then_some(Action::Leave)
    }

    /// When, after `now`, [`Life::step`] and the others may have a new answer if nothing happens before.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let ending = match self.ending {
            Ending::Terminated { kill_at: at } | Ending::Killed { again_at: at } => Some(at),
            Ending::No | Ending::Asked | Ending::Gone => None,
        };
        let ended = self.end.is_some();
        let timeout = self.timeout.filter(|_| !ended && self.ending == Ending::No);
        let grace = self.grace_until().filter(|_| ended || self.ending == Ending::No);
        let drain = self.drain_until().filter(|_| !self.drained);
        [ending, timeout, grace, drain].into_iter().flatten().filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(30);

    fn life(timeout: Option<u64>) -> (Life, Instant) {
        let now = Instant::now();
        (Life::new(now, timeout.map(Duration::from_secs), Some(GRACE)), now)
    }

    #[test]
    fn a_plain_command_ends_drains_and_leaves_when_released() {
        let (mut life, now) = life(None);
        assert_eq!((life.step(now), life.deadline(now)), (None, None));
        life.ended(now, End::Exited(3));
        assert_eq!(life.over(), None);
        life.release();
        assert_eq!(life.step(now), None, "a release before all was read releases nothing");
        life.drained();
        assert_eq!(life.over(), Some(End::Exited(3)));
        assert_eq!((life.step(now), life.deadline(now)), (None, None));
        life.release();
        assert_eq!(life.step(now), Some(Action::Leave));
    }

    #[test]
    fn a_timeout_terminates_then_kills_until_all_are_gone() {
        let (mut life, now) = life(Some(2));
        let over = now + Duration::from_secs(2);
        assert_eq!(life.deadline(now), Some(over));
        assert_eq!(life.step(over), Some(Action::Terminate));
        assert_eq!(life.step(over), None);
        life.ended(over, End::Signaled(15));
        life.drained();
        assert_eq!(life.over(), Some(End::TimedOut));
        life.release();
        assert_eq!(life.step(over), None, "a double fork may still be there");
        let kill = over + KILL_AFTER;
        assert_eq!(life.deadline(now), Some(kill));
        assert_eq!(life.step(kill), Some(Action::Kill));
        assert_eq!(life.step(kill), None);
        assert_eq!(life.step(kill + KILL_AGAIN), Some(Action::Kill));
        life.childless();
        assert_eq!(life.step(kill + KILL_AGAIN), Some(Action::Leave));
    }

    #[test]
    fn without_an_agent_for_its_grace_time_it_is_ended() {
        let (mut life, now) = life(None);
        life.attended(now, false);
        life.attended(now + GRACE / 2, false);
        assert_eq!(life.deadline(now), Some(now + GRACE));
        life.attended(now + GRACE / 2, true);
        assert_eq!(life.step(now + GRACE), None);
        life.attended(now + GRACE, false);
        let over = now + GRACE * 2;
        assert_eq!(life.step(over), Some(Action::Terminate));
        life.ended(over, End::Signaled(15));
        life.childless();
        life.drained();
        assert_eq!(life.step(over), Some(Action::Leave));
    }

    #[test]
    fn an_end_without_an_agent_is_kept_for_the_grace_time() {
        let (mut life, now) = life(None);
        life.attended(now, false);
        life.ended(now, End::Exited(0));
        life.drained();
        assert_eq!((life.step(now), life.deadline(now)), (None, Some(now + GRACE)));
        assert_eq!(life.step(now + GRACE), Some(Action::Leave));
    }

    #[test]
    fn a_detached_job_needs_nobody_and_leaves_when_all_is_over() {
        let now = Instant::now();
        let mut life = Life::new(now, None, None);
        life.attended(now, false);
        assert_eq!((life.step(now + GRACE * 1000), life.deadline(now)), (None, None));
        life.ended(now, End::Exited(0));
        assert_eq!(life.step(now), None, "what it wrote is not read yet");
        life.drained();
        assert_eq!(life.step(now), Some(Action::Leave));
    }

    #[test]
    fn draining_lasts_while_something_comes_but_not_for_ever() {
        let (mut life, now) = life(None);
        assert!(!life.drain_is_over(now));
        life.ended(now, End::Exited(0));
        assert_eq!(life.deadline(now), Some(now + DRAIN_QUIET));
        let mut at = now;
        while !life.drain_is_over(at) {
            life.output(at);
            at += DRAIN_QUIET / 2;
        }
        assert!(at >= now + DRAIN_MAX && at < now + DRAIN_MAX + DRAIN_QUIET);
    }

    #[test]
    fn a_timeout_after_the_end_changes_nothing() {
        let (mut life, now) = life(Some(1));
        life.ended(now, End::Exited(0));
        assert_eq!(life.step(now + Duration::from_secs(5)), None);
        life.drained();
        assert_eq!(life.over(), Some(End::Exited(0)));
    }
}
