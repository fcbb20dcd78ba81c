//! Tests of a job's life.

use proptest::prelude::*;

use super::*;

const GRACE: Duration = Duration::from_secs(30);

fn life(timeout: Option<u64>) -> (Lifecycle, Instant) {
    let now = Instant::now();
    (Lifecycle::new(now, timeout.map(Duration::from_secs), Some(GRACE)), now)
}

#[test]
fn a_plain_command_ends_drains_and_leaves_when_released() {
    let (mut life, now) = life(None);
    assert_eq!((life.step(now), life.deadline(now)), (None, None));
    life.ended(now, End::Exited(3));
    assert_eq!(life.over(), None);
    life.release();
    assert_eq!(life.step(now), None, "a release before all was read releases nothing");
    life.drained(now);
    assert_eq!(life.over(), Some(End::Exited(3)));
    assert_eq!((life.step(now), life.deadline(now)), (None, None));
    life.release();
    assert_eq!(life.step(now), Some(Action::Leave));
}

#[test]
fn a_timeout_terminates_then_kills_until_all_are_gone() {
    let (mut life, now) = life(Some(2));
    let over = now + Duration::from_secs(2);
    assert_eq!((life.step(now), life.deadline(now)), (None, Some(over)));
    assert_eq!(life.step(over), Some(Action::Terminate));
    assert_eq!(life.step(over), None);
    life.ended(over, End::Signaled(15));
    life.drained(now);
    assert_eq!(life.over(), Some(End::TimedOut));
    life.release();
    assert_eq!(life.step(over), None, "a double fork may still be there");
    let kill = over + KILL_AFTER;
    assert_eq!(life.deadline(over), Some(kill));
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
    assert_eq!((life.step(now), life.deadline(now)), (None, Some(now + GRACE)));
    life.attended(now + GRACE / 2, true);
    assert_eq!(life.step(now + GRACE), None);
    life.attended(now + GRACE, false);
    let over = now + GRACE * 2;
    assert_eq!(life.step(over), Some(Action::Terminate));
    life.ended(over, End::Signaled(15));
    life.childless();
    life.drained(now);
    assert_eq!(life.over(), Some(End::GraceExpired));
    assert_eq!(life.step(over), Some(Action::Leave));
}

#[test]
fn an_agent_that_goes_behind_the_step_is_not_slept_over() {
    let now = Instant::now();
    let mut life = Lifecycle::new(now, None, Some(Duration::ZERO));
    assert_eq!((life.step(now), life.deadline(now)), (None, None));
    life.attended(now, false);
    assert_eq!(life.deadline(now), Some(now), "its time has passed, and nobody has looked");
    assert_eq!(life.step(now), Some(Action::Terminate));
    assert_eq!((life.step(now), life.deadline(now)), (None, Some(now + KILL_AFTER)));
}

#[test]
fn one_that_is_told_to_stop_waits_for_nobody_who_is_not_there() {
    let (mut life, now) = life(None);
    life.attended(now, false);
    life.ended(now, End::Exited(3));
    life.drained(now);
    assert_eq!(life.step(now), None, "its controller may come back");
    life.stop(now, true);
    assert_eq!(life.step(now), Some(Action::Leave));
    assert_eq!(life.over(), Some(End::Exited(3)), "it had ended by itself");
}

#[test]
fn an_agent_that_is_there_gets_a_moment_to_pass_the_end_on() {
    let (mut life, now) = life(None);
    life.stop(now, false);
    assert_eq!(life.step(now), Some(Action::Terminate));
    life.ended(now, End::Signaled(15));
    life.childless();
    life.drained(now);
    assert_eq!(life.over(), Some(End::Stopped));
    assert_eq!((life.step(now), life.deadline(now)), (None, Some(now + STOP_WAIT)));
    assert_eq!(life.step(now + STOP_WAIT), Some(Action::Leave));
    life.release();
    assert_eq!(life.step(now), Some(Action::Leave));
}

#[test]
fn a_signal_that_all_got_is_not_sent_again() {
    let (mut life, now) = life(None);
    life.stop(now, true);
    assert_eq!((life.step(now), life.deadline(now)), (None, Some(now + KILL_AFTER)));
    assert_eq!(life.step(now + KILL_AFTER), Some(Action::Kill));
}

#[test]
fn an_end_without_an_agent_is_kept_for_the_grace_time() {
    let (mut life, now) = life(None);
    life.attended(now, false);
    life.ended(now, End::Exited(0));
    life.drained(now);
    assert_eq!((life.step(now), life.deadline(now)), (None, Some(now + GRACE)));
    assert_eq!(life.step(now + GRACE), Some(Action::Leave));
}

#[test]
fn a_detached_job_needs_nobody_and_leaves_when_all_is_over() {
    let now = Instant::now();
    let mut life = Lifecycle::new(now, None, None);
    life.attended(now, false);
    assert_eq!((life.step(now + GRACE * 1000), life.deadline(now)), (None, None));
    life.ended(now, End::Exited(0));
    assert_eq!(life.step(now), None, "what it wrote is not read yet");
    life.drained(now);
    assert_eq!(life.step(now), Some(Action::Leave));
}

#[test]
fn draining_lasts_while_something_comes_but_not_for_ever() {
    let (mut life, now) = life(None);
    assert!(!life.drain_is_over(now));
    life.ended(now, End::Exited(0));
    assert_eq!((life.step(now), life.deadline(now)), (None, Some(now + DRAIN_QUIET)));
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
    life.drained(now);
    assert_eq!(life.over(), Some(End::Exited(0)));
}

/// What may happen to a supervisor.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Passes(u64),
    Agent { there: bool, behind_the_step: bool },
    Ends,
    Writes,
    Stop(bool),
    Fails,
    Killed,
    Release,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (0_u64..4000).prop_map(Happening::Passes),
        any::<[bool; 2]>()
            .prop_map(|[there, behind_the_step]| Happening::Agent { there, behind_the_step }),
        Just(Happening::Ends),
        Just(Happening::Writes),
        any::<bool>().prop_map(Happening::Stop),
        Just(Happening::Fails),
        Just(Happening::Killed),
        Just(Happening::Release),
    ]
}

/// A supervisor's loop, whose command ends when it is killed.
struct Model {
    life: Lifecycle,
    now: Instant,
    left: bool,
}

impl Model {
    /// What the loop does between two waits; `lost` is what it learns while it speaks.
    fn turn(&mut self, lost: Option<bool>) {
        let now = self.now;
        if self.life.is_ended() && (self.life.drain_is_over(now) || self.life.grace_expired(now)) {
            self.life.drained(now);
        }
        while let Some(action) = self.life.step(now) {
            match action {
                Action::Terminate => {}
                Action::Kill => {
                    self.life.ended(now, End::Signaled(9));
                    self.life.childless();
                }
                Action::Leave => {
                    self.left = true;
                    return;
                }
            }
        }
        if let Some(there) = lost {
            self.life.attended(now, there);
        }
    }

    fn happens(&mut self, happening: Happening) {
        let now = self.now;
        let mut lost = None;
        match happening {
            Happening::Passes(ms) => self.now += Duration::from_millis(ms),
            Happening::Agent { there, behind_the_step: true } => lost = Some(there),
            Happening::Agent { there, .. } => self.life.attended(now, there),
            Happening::Ends => self.life.ended(now, End::Exited(0)),
            Happening::Writes => self.life.output(now),
            Happening::Stop(all) => self.life.stop(now, all),
            Happening::Fails => self.life.end_it(),
            Happening::Killed => self.life.killed(now),
            Happening::Release => self.life.release(),
        }
        self.turn(lost);
    }
}

proptest! {
    /// However it came to that: a job that nobody is with any more is over after its grace time, and its
    /// supervisor neither sleeps for ever nor turns without end.
    #[test]
    fn nobody_is_left_behind(
        grace in prop_oneof![Just(0_u64), 0_u64..3000],
        happenings in prop::collection::vec(happening(), 0..20),
        behind_the_step in any::<bool>(),
    ) {
        let now = Instant::now();
        let life = Lifecycle::new(now, None, Some(Duration::from_millis(grace)));
        let mut model = Model { life, now, left: false };
        for happening in happenings {
            if !model.left {
                model.happens(happening);
            }
        }
        if !model.left {
            model.happens(Happening::Agent { there: false, behind_the_step });
        }
        let mut turns = 0;
        while !model.left {
            let at = model.life.deadline(model.now);
            prop_assert!(at.is_some(), "it sleeps for ever");
            model.now = at.unwrap_or(now);
            model.turn(None);
            turns += 1;
            prop_assert!(turns < 20, "it does not come to an end");
        }
    }
}
