//! Tests admission's rules at chosen times.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

fn admit(admission: &mut Admission, last: u8, now: Instant) -> (Slot, Option<Slot>) {
    match admission.connected(address(last), now) {
        Verdict::Admitted { place, evicted } => (place, evicted),
        Verdict::Penalised(_) => panic!("10.0.0.{last} is penalised"),
    }
}

fn small(places_per_source: usize, places: usize) -> Admission {
    Admission::new(Rules { places_per_source, places, ..Rules::default() })
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_source_that_has_its_share_loses_its_own_stalled_and_nobody_who_gets_on() {
    let (mut admission, now) = (small(2, 100), Instant::now());
    let (greeted, _) = admit(&mut admission, 1, now);
    let (silent, _) = admit(&mut admission, 1, now);
    let (other, _) = admit(&mut admission, 2, now);
    admission.progressed(greeted, Stage::Greeted, now);
    assert_eq!(admit(&mut admission, 1, now).1, None);
    let later = now + SECOND;
    assert_eq!(admit(&mut admission, 1, later).1, Some(silent));
    assert_eq!(admit(&mut admission, 2, later).1, None);
    // By then the greeted peer has stalled too.
    let (_, evicted) = admit(&mut admission, 1, now + 5 * SECOND);
    assert_eq!(evicted, Some(greeted));
    assert!(admission.unauthenticated.contains_key(&other));
}

#[test]
fn a_burst_of_honest_logins_loses_none() {
    let (mut admission, now) = (Admission::new(Rules::default()), Instant::now());
    for i in 0..256 {
        let (place, evicted) = admit(&mut admission, 1, now + i * Duration::from_millis(3));
        assert_eq!(evicted, None);
        admission.progressed(place, Stage::Greeted, now + i * Duration::from_millis(4));
    }
}

#[test]
fn a_source_that_logged_in_lately_may_use_every_place() {
    let (mut admission, now) = (small(2, 10), Instant::now());
    let (first, _) = admit(&mut admission, 1, now);
    admission.ended(first, Outcome::LoggedIn, now);
    for i in 0..10 {
        assert_eq!(admit(&mut admission, 1, now + i * SECOND).1, None);
    }
    assert!(admit(&mut admission, 2, now + 10 * SECOND).1.is_some());
}

#[test]
fn when_all_is_full_the_heaviest_sources_oldest_goes() {
    let (mut admission, now) = (small(16, 4), Instant::now());
    admit(&mut admission, 1, now);
    let (heavy, _) = admit(&mut admission, 2, now);
    admit(&mut admission, 2, now);
    admit(&mut admission, 3, now);
    assert_eq!(admit(&mut admission, 4, now).1, Some(heavy));
    assert_eq!(admission.unauthenticated(), 4);
}

#[test]
fn when_all_is_full_the_silent_go_before_the_greeted_and_the_unknown_before_the_known() {
    let (mut admission, now) = (small(16, 3), Instant::now());
    let (login, _) = admit(&mut admission, 9, now);
    admission.ended(login, Outcome::LoggedIn, now);
    let (known, _) = admit(&mut admission, 9, now);
    let (greeted, _) = admit(&mut admission, 1, now);
    admission.progressed(greeted, Stage::Greeted, now);
    let (silent, _) = admit(&mut admission, 2, now);
    let (next, evicted) = admit(&mut admission, 3, now);
    assert_eq!(evicted, Some(silent));
    admission.progressed(next, Stage::Greeted, now);
    assert_eq!(admit(&mut admission, 3, now).1, Some(greeted));
    assert!(admission.unauthenticated.contains_key(&known));
}

#[test]
fn whom_a_flood_evicts_is_the_flood() {
    let (mut admission, now) = (Admission::new(Rules::default()), Instant::now());
    let (good, _) = admit(&mut admission, 200, now);
    admission.progressed(good, Stage::Greeted, now);
    for i in 0..20 {
        for last in 0..100 {
            let now = now + i * Duration::from_millis(200);
            admit(&mut admission, last, now);
            // One source sends as many as all the others together.
            admit(&mut admission, 100, now);
        }
    }
    assert_eq!(admission.unauthenticated(), 256);
    assert!(admission.unauthenticated.contains_key(&good));
}

#[test]
fn whose_login_has_arrived_holds_no_place_and_there_is_a_bound_to_them_too() {
    let (mut admission, now) = (small(1, 2), Instant::now());
    let decided: Vec<_> = (0..2)
        .map(|_| {
            let (place, evicted) = admit(&mut admission, 1, now);
            assert_eq!((evicted, admission.progressed(place, Stage::Decided, now)), (None, None));
            place
        })
        .collect();
    assert_eq!(admission.unauthenticated(), 0);
    let (third, _) = admit(&mut admission, 1, now);
    assert_eq!(admission.progressed(third, Stage::Decided, now), Some(decided[0]));
    // Their failures count all the same.
    for place in [decided[1], third] {
        admission.ended(place, Outcome::Failed, now);
    }
    let (last, _) = admit(&mut admission, 1, now);
    admission.ended(last, Outcome::Failed, now);
    assert!(matches!(admission.connected(address(1), now), Verdict::Penalised(_)));
}

#[test]
fn failures_close_the_door_for_a_while_and_a_probe_or_an_eviction_does_not() {
    let (mut admission, now) = (small(1, 100), Instant::now());
    for _ in 0..100 {
        let (probe, _) = admit(&mut admission, 1, now);
        admission.ended(probe, Outcome::Nothing, now);
        let (stalled, _) = admit(&mut admission, 2, now);
        let (next, evicted) = admit(&mut admission, 2, now + SECOND);
        assert_eq!(evicted, Some(stalled));
        admission.ended(stalled, Outcome::Failed, now);
        admission.ended(next, Outcome::Nothing, now);
    }
    for _ in 0..3 {
        let (place, _) = admit(&mut admission, 3, now);
        admission.ended(place, Outcome::Failed, now);
    }
    let until = now + Duration::from_millis(500);
    assert_eq!(admission.connected(address(3), now), Verdict::Penalised(until));
    assert!(matches!(admission.connected(address(3), until), Verdict::Admitted { .. }));
}

#[test]
fn who_logged_in_is_let_in_whatever_fails_there() {
    let (mut admission, now) = (small(16, 100), Instant::now());
    let (place, _) = admit(&mut admission, 1, now);
    admission.ended(place, Outcome::LoggedIn, now);
    assert_eq!(admission.unauthenticated(), 0);
    for _ in 0..100 {
        let (place, _) = admit(&mut admission, 1, now);
        admission.ended(place, Outcome::Failed, now);
    }
}

#[test]
fn exempt_networks_are_not_penalised_and_may_use_every_place() {
    let exempt = vec!["10.0.0.0/30".parse().unwrap()];
    let rules = Rules { places_per_source: 2, places: 8, exempt, ..Rules::default() };
    let (mut admission, now) = (Admission::new(rules), Instant::now());
    for _ in 0..100 {
        let (place, _) = admit(&mut admission, 1, now);
        admission.ended(place, Outcome::Failed, now);
    }
    for _ in 0..8 {
        assert_eq!(admit(&mut admission, 2, now).1, None);
    }
    assert!(admit(&mut admission, 2, now).1.is_some());
}

#[derive(Clone, Debug)]
enum Step {
    Connect(u8),
    Progress(usize, Stage),
    End(usize, Outcome),
    Pass(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome =
        prop_oneof![Just(Outcome::LoggedIn), Just(Outcome::Nothing), Just(Outcome::Failed)];
    let stage = prop_oneof![Just(Stage::Greeted), Just(Stage::Decided)];
    let step = prop_oneof![
        2 => (0_usize..16, stage).prop_map(|(which, stage)| Step::Progress(which, stage)),
        4 => (0_u8..6).prop_map(Step::Connect),
        2 => (0_usize..16, outcome).prop_map(|(which, outcome)| Step::End(which, outcome)),
        1 => any::<u16>().prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    #[test]
    fn limits_hold_and_books_balance(steps in steps(), per_source in 1_usize..4, places in 1_usize..9) {
        let mut admission = small(per_source, places);
        let mut now = Instant::now();
        let mut inside: Vec<(Slot, u8)> = Vec::new();
        let mut decided: Vec<Slot> = Vec::new();
        for step in steps {
            match step {
                Step::Connect(last) => match admission.connected(address(last), now) {
                    Verdict::Penalised(until) => {
                        prop_assert!(until > now && until <= now + Duration::from_secs(60));
                    }
                    Verdict::Admitted { place, evicted } => {
                        if let Some(evicted) = evicted {
                            let known = inside.iter().position(|&(place, _)| place == evicted);
                            inside.remove(known.expect("who is evicted was inside"));
                        }
                        inside.push((place, last));
                    }
                },
                Step::Progress(which, stage) if which < inside.len() => {
                    let (place, _) = inside[which];
                    let evicted = admission.progressed(place, stage, now);
                    if stage == Stage::Decided {
                        inside.remove(which);
                        decided.push(place);
                    }
                    decided.retain(|&place| Some(place) != evicted);
                }
                Step::End(which, outcome) if which < inside.len() => {
                    admission.ended(inside.remove(which).0, outcome, now);
                }
                Step::End(..) | Step::Progress(..) => {
                    decided.drain(..).for_each(|place| admission.ended(place, Outcome::Failed, now));
                }
                Step::Pass(ms) => now += Duration::from_millis(ms.into()),
            }
            prop_assert_eq!(admission.unauthenticated(), inside.len());
            prop_assert!(inside.len() <= places);
            prop_assert!(decided.len() <= places);
            prop_assert_eq!(admission.decided.len(), decided.len());
            for last in 0..6 {
                let own = inside.iter().filter(|&&(_, source)| source == last).count();
                let counted = admission.counts.get(&Source::of(address(last)));
                prop_assert_eq!(counted.copied().unwrap_or(0), own);
            }
        }
    }
}
