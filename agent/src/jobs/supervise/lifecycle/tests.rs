//! Tests of a job's lifecycle.

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
fn a_disconnection_after_the_step_makes_the_deadline_now() {
    let now = Instant::now();
    let mut life = Lifecycle::new(now, None, Some(Duration::ZERO));
    assert_eq!((life.step(now), life.deadline(now)), (None, None));
    life.attended(now, false);
    assert_eq!(life.deadline(now), Some(now), "its time has passed, and nobody has looked");
    assert_eq!(life.step(now), Some(Action::Terminate));
    assert_eq!((life.step(now), life.deadline(now)), (None, Some(now + KILL_AFTER)));
}

#[test]
fn a_stopped_supervisor_waits_for_no_disconnected_session() {
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
fn a_connected_agent_gets_time_to_deliver_the_exit() {
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
fn a_signal_to_every_process_is_not_repeated() {
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
fn a_detached_job_ends_without_a_session() {
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

/// An event of a supervisor.
#[derive(Clone, Copy, Debug)]
enum Event {
    Passes(u64),
    Agent { there: bool, after_step: bool },
    Ends,
    Writes,
    Stop(bool),
    Fails,
    Killed,
    Release,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0_u64..4000).prop_map(Event::Passes),
        any::<[bool; 2]>().prop_map(|[there, after_step]| Event::Agent { there, after_step }),
        Just(Event::Ends),
        Just(Event::Writes),
        any::<bool>().prop_map(Event::Stop),
        Just(Event::Fails),
        Just(Event::Killed),
        Just(Event::Release),
    ]
}

/// A supervisor's loop, whose command ends when it is killed.
struct Model {
    life: Lifecycle,
    now: Instant,
    left: bool,
}

impl Model {
    /// One iteration of the loop; `lost` is a change of connection after the step.
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

    fn apply(&mut self, event: Event) {
        let now = self.now;
        let mut lost = None;
        match event {
            Event::Passes(ms) => self.now += Duration::from_millis(ms),
            Event::Agent { there, after_step: true } => lost = Some(there),
            Event::Agent { there, .. } => self.life.attended(now, there),
            Event::Ends => self.life.ended(now, End::Exited(0)),
            Event::Writes => self.life.output(now),
            Event::Stop(all) => self.life.stop(now, all),
            Event::Fails => self.life.end_job(),
            Event::Killed => self.life.killed(now),
            Event::Release => self.life.release(),
        }
        self.turn(lost);
    }
}

proptest! {
    /// After any events, a job without a session is over after its grace time, and its supervisor neither
    /// sleeps forever nor loops without end.
    #[test]
    fn supervisors_end_in_time(
        grace in prop_oneof![Just(0_u64), 0_u64..3000],
        events in prop::collection::vec(event(), 0..20),
        after_step in any::<bool>(),
    ) {
        let now = Instant::now();
        let life = Lifecycle::new(now, None, Some(Duration::from_millis(grace)));
        let mut model = Model { life, now, left: false };
        for event in events {
            if !model.left {
                model.apply(event);
            }
        }
        if !model.left {
            model.apply(Event::Agent { there: false, after_step });
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
