//! The link between the namespaces, without them: rate, queue, delay and loss.

use std::time::{Duration, Instant};

use lariat_testing::network::Conditions;
use lariat_testing::network::queue::{Fate, Queue};

const PACKET: usize = 1250;

/// A packet takes 10 ms, and three may wait.
const SLOW: Conditions = Conditions {
    delay: Duration::from_millis(100),
    loss: 0,
    rate: 1_000_000,
    queue: 3 * PACKET as u64,
};

/// Sends a packet, and holds it if it arrives.
fn push(queue: &mut Queue, now: Instant, bytes: usize) -> Fate {
    let fate = queue.send(now, bytes);
    if let Fate::Arrives(at) = fate {
        queue.hold(at, vec![0; bytes]);
    }
    fate
}

fn after(begin: Instant, millis: u64) -> Instant {
    begin + Duration::from_millis(millis)
}

#[test]
fn a_packet_arrives_after_its_turn_its_time_and_the_delay() {
    let (begin, mut queue) = (Instant::now(), Queue::new(SLOW, 1));
    let at = |millis| after(begin, millis);
    assert_eq!((queue.next(), queue.pop(at(1000))), (None, None));
    assert_eq!(push(&mut queue, begin, PACKET), Fate::Arrives(at(110)));
    assert_eq!(push(&mut queue, at(4), 125), Fate::Arrives(at(111)));
    // The link was idle for a while, for which it has no credit.
    assert_eq!(push(&mut queue, at(50), PACKET), Fate::Arrives(at(160)));
    assert_eq!((queue.next(), queue.pop(at(109))), (Some(at(110)), None));
    let lengths = |queue: &mut Queue, now| {
        std::iter::from_fn(|| queue.pop(now)).map(|packet| packet.len()).collect::<Vec<_>>()
    };
    assert_eq!(lengths(&mut queue, at(111)), [1250, 125]);
    assert!(lengths(&mut queue, at(159)).is_empty());
    assert_eq!(lengths(&mut queue, at(160)), [1250]);
    assert_eq!(queue.next(), None);
}

#[test]
fn a_full_queue_drops_what_comes_and_takes_more_as_soon_as_there_is_room() {
    let (begin, mut queue) = (Instant::now(), Queue::new(SLOW, 1));
    for number in 1..=3 {
        let arrives = after(begin, 100 + 10 * number);
        assert_eq!(push(&mut queue, begin, PACKET), Fate::Arrives(arrives));
    }
    assert_eq!(push(&mut queue, begin, PACKET), Fate::Dropped);
    assert_eq!(push(&mut queue, after(begin, 9), PACKET), Fate::Dropped);
    // What has been sent makes room, though it has not arrived.
    assert_eq!(push(&mut queue, after(begin, 10), PACKET), Fate::Arrives(after(begin, 140)));
    // A smaller one still fits where a large one does not.
    assert_eq!(push(&mut queue, after(begin, 12), PACKET), Fate::Dropped);
    let arrives = after(begin, 141);
    assert_eq!(push(&mut queue, after(begin, 12), 125), Fate::Arrives(arrives));
}

#[test]
fn a_link_that_is_always_given_more_carries_exactly_its_rate() {
    let (begin, mut queue) = (Instant::now(), Queue::new(SLOW, 1));
    let mut carried = 0;
    for millis in 0..10_000 {
        push(&mut queue, after(begin, millis), PACKET);
        while let Some(packet) = queue.pop(after(begin, millis)) {
            carried += packet.len();
        }
    }
    // One megabit a second for ten, less the delay.
    assert_eq!(carried, 989 * PACKET);
}

#[test]
fn losses_are_as_many_as_they_should_be_and_the_same_for_a_seed() {
    let lost = |loss, seed| {
        let conditions = Conditions { loss, rate: u64::MAX, queue: u64::MAX, ..SLOW };
        let mut queue = Queue::new(conditions, seed);
        let now = Instant::now();
        let fates = (0..100_000_u32).filter(|_| queue.send(now, 1) == Fate::Lost);
        fates.count()
    };
    assert_eq!((lost(0, 1), lost(1_000_000, 1)), (0, 100_000));
    let some = lost(10_000, 1);
    assert!((900..1100).contains(&some), "{some}");
    assert_eq!(some, lost(10_000, 1));
    assert_ne!(some, lost(10_000, 2));
}

#[test]
fn a_queue_holds_one_round_trip_or_five_milliseconds() {
    let held = |millis, rate| Conditions::new(Duration::from_millis(millis), 0, rate).queue;
    assert_eq!(held(50, 1_000_000_000), 12_500_000);
    assert_eq!((held(0, 8_000_000), held(2, 8_000_000)), (5000, 5000));
}
