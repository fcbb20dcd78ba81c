//! Trees over several connections: shared, cut, retired, hostile.

use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;

use tokio::io::AsyncWriteExt;

use super::*;
use crate::tests::Cut;
use crate::{ReceiveLanes, SendLanes, receive_lane, send_lane};
use lariat_wire::limits::CHUNK;
use lariat_wire::link::{LinkError, message_frame};
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::metadata::Preserve;
use lariat_wire::protocol::transfer::{LiteralHead, Taken};
use lariat_wire::protocol::tree::{Begin, Entries};

/// The lanes of both ends.
#[derive(Clone, Default)]
struct Lanes {
    sends: SendLanes,
    receives: ReceiveLanes,
}

type Ended = (Result<(), TransferError>, Result<(), TransferError>);

impl Lanes {
    fn copy(&self, world: &World) -> Outcome {
        let (source, root) = (world.open(), world.open().root().clone());
        let arrival = self.receives.bring_tree(world.arrival(root));
        world.copy_from(self.sends.carry_tree(source), arrival)
    }

    /// A lane's consecutive connections on a separate thread, each cut after this many bytes towards the
    /// receiver. Returns what was acknowledged.
    fn lane(&self, number: u8, cuts: &[Option<u64>]) -> JoinHandle<(u64, Ended)> {
        let (lanes, cuts) = (self.clone(), cuts.to_vec());
        std::thread::spawn(move || {
            let (taken, unused) = (AtomicU64::new(0), AtomicU64::new(0));
            let mut ended = (Ok(()), Ok(()));
            for cut in cuts {
                let (a, b) = duplex(1 << 16);
                let (mut from, mut to) = (Link::new(a), Link::new(Cut { stream: b, left: cut }));
                ended = block_on(async {
                    let sending = async {
                        let sent = send_lane(&mut from, &lanes.sends, number, &taken).await;
                        // The other end may be gone.
                        let _ = from.writer.finish().await;
                        drop(from);
                        sent
                    };
                    let receiving = async {
                        let got = receive_lane(&mut to, &lanes.receives, number, &unused).await;
                        drop(to);
                        got
                    };
                    tokio::join!(sending, receiving)
                });
            }
            (taken.into_inner(), ended)
        })
    }
}

/// Many small files and some large ones.
fn world() -> World {
    let world = World::new();
    for number in 0..60_u8 {
        let content: Vec<u8> = (0..=u8::MAX).map(|at| at.wrapping_mul(number)).collect();
        let content = content.repeat(350);
        world.file(&format!("d{}/small{number}", number % 7), content);
    }
    for number in 0..8_u8 {
        let content = vec![number; 3 * CHUNK + usize::from(number)];
        world.file(&format!("d{}/large{number}", number % 3), content);
    }
    world
}

fn size(world: &World) -> u64 {
    let size = |path: &Path| path.symlink_metadata().unwrap().len();
    let of = |directory: std::fs::DirEntry| -> u64 {
        std::fs::read_dir(directory.path()).unwrap().map(|file| size(&file.unwrap().path())).sum()
    };
    std::fs::read_dir(world.source("")).unwrap().map(|directory| of(directory.unwrap())).sum()
}

fn assert_arrived(world: &World, outcome: &Outcome) {
    assert!(outcome.sent.is_ok(), "{:?}", outcome.sent);
    assert!(outcome.received.is_ok(), "{:?}", outcome.received);
    assert_eq!(*outcome.sender.missed.borrow(), []);
    assert_eq!(*outcome.receiver.missed.borrow(), []);
    world.assert_same();
    world.assert_canary();
}

#[test]
fn every_connection_takes_its_part_and_the_tree_is_exact() {
    let (world, lanes) = (world(), Lanes::default());
    let threads = [1, 2, 3].map(|number| lanes.lane(number, &[None]));
    let outcome = lanes.copy(&world);
    for thread in threads {
        let (taken, ended) = thread.join().unwrap();
        assert!(taken > 0 && ended.0.is_ok() && ended.1.is_ok(), "{taken} {ended:?}");
    }
    assert_arrived(&world, &outcome);
    assert_eq!(outcome.counts.moved, size(&world), "nothing was sent twice");
    let settled = outcome.received.unwrap();
    assert_eq!((settled.files, settled.bytes), (68, size(&world)));
}

#[test]
fn broken_lanes_only_lose_contents_in_transit() {
    for cut in [0, 7, 100, 90_000, 500_000, 1 << 20, 3 << 20] {
        let (world, lanes) = (world(), Lanes::default());
        let threads = [1, 2].map(|number| lanes.lane(number, &[Some(cut); 3]));
        let outcome = lanes.copy(&world);
        threads.into_iter().for_each(|thread| drop(thread.join().unwrap()));
        assert_arrived(&world, &outcome);
    }
}

#[test]
fn all_lanes_end_with_the_first_connection() {
    let (mut world, lanes) = (world(), Lanes::default());
    for cut in [Some(20_000), Some(700_000), Some(2 << 20), Some(3 << 20), None] {
        world.cut = cut;
        let threads = [1, 2].map(|number| {
            let lanes = lanes.clone();
            std::thread::spawn(move || {
                let opened = async { tokio::join!(lanes.sends.opened(), lanes.receives.opened()) };
                let opened =
                    async { tokio::time::timeout(std::time::Duration::from_secs(5), opened).await };
                if block_on(opened).is_ok() {
                    drop(lanes.lane(number, &[None]).join().unwrap());
                }
            })
        });
        let outcome = lanes.copy(&world);
        lanes.sends.close();
        lanes.receives.close();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        if cut.is_none() {
            assert_arrived(&world, &outcome);
        }
    }
}

/// A tree with a file that is large enough for its chunks to be shared.
fn world_with_shared_file() -> World {
    let world = world();
    world.file("d1/shared", (0..=u8::MAX).collect::<Vec<u8>>().repeat((36 << 20) / 256));
    world
}

#[test]
fn a_large_file_is_shared_by_all() {
    let (world, lanes) = (world_with_shared_file(), Lanes::default());
    let threads = [1, 2, 3].map(|number| lanes.lane(number, &[None]));
    let outcome = lanes.copy(&world);
    for thread in threads {
        let (taken, ended) = thread.join().unwrap();
        assert!(taken > 2 && ended.0.is_ok() && ended.1.is_ok(), "{taken} {ended:?}");
    }
    assert_arrived(&world, &outcome);
    assert_eq!(outcome.counts.moved, size(&world), "nothing was sent twice");
}

#[test]
fn lanes_that_break_while_they_share_a_file_give_back_its_chunks() {
    for cut in [700_000, 5 << 20, 9 << 20] {
        let (world, lanes) = (world_with_shared_file(), Lanes::default());
        let threads = [1, 2].map(|number| lanes.lane(number, &[Some(cut); 3]));
        let outcome = lanes.copy(&world);
        threads.into_iter().for_each(|thread| drop(thread.join().unwrap()));
        assert_arrived(&world, &outcome);
    }
}

#[test]
fn a_shared_file_that_shrinks_is_missed_and_the_rest_arrives() {
    let (world, lanes) = (world_with_shared_file(), Lanes::default());
    let threads = [1, 2].map(|number| lanes.lane(number, &[None; 3]));
    let (path, other) = (world.source("d1/shared"), lanes.clone());
    let shrink = std::thread::spawn(move || {
        block_on(other.sends.begun());
        std::fs::File::options().write(true).open(path).unwrap().set_len(1 << 20).unwrap();
    });
    let outcome = lanes.copy(&world);
    shrink.join().unwrap();
    threads.into_iter().for_each(|thread| drop(thread.join().unwrap()));
    assert!(outcome.sent.is_ok() && outcome.received.is_ok());
    let (sender, receiver) = (outcome.sender.missed.borrow(), outcome.receiver.missed.borrow());
    // It may be read after it has shrunk.
    assert!(sender.len() <= 1 && sender.len() == receiver.len(), "{sender:?} {receiver:?}");
    let settled = outcome.received.unwrap();
    assert_eq!(settled.files + sender.len() as u64, 69);
}

#[test]
fn a_retired_lane_ends_in_order() {
    let (world, lanes) = (world(), Lanes::default());
    let thread = lanes.lane(1, &[None]);
    let other = lanes.clone();
    let retire = std::thread::spawn(move || {
        block_on(other.sends.begun());
        other.sends.retire(1);
    });
    let outcome = lanes.copy(&world);
    retire.join().unwrap();
    let (_, ended) = thread.join().unwrap();
    assert!(ended.0.is_ok(), "{ended:?}");
    assert_arrived(&world, &outcome);
    assert_eq!(outcome.counts.moved, size(&world), "nothing was sent twice");
}

/// A tree whose only lane receives these frames, as if from a sender. Returns how the lane ended.
fn with_fed_lane(world: &World, frames: Vec<u8>) -> (Outcome, Result<(), TransferError>) {
    let lanes = Lanes::default();
    let receives = lanes.receives.clone();
    let thread = std::thread::spawn(move || {
        block_on(async {
            receives.begun().await;
            let (mut peer, ours) = duplex(1 << 20);
            peer.write_all(&frames).await.unwrap();
            receive_lane(&mut Link::new(ours), &receives, 1, &AtomicU64::new(0)).await
        })
    });
    let outcome = lanes.copy(world);
    (outcome, thread.join().unwrap())
}

#[test]
fn invalid_frames_end_only_the_lane() {
    let world = World::new();
    world.file("a", vec![1; 10_000]);
    let offer =
        crate::Source::open(&world.source("a"), Preserve::default()).unwrap().offer().clone();
    for (name, frames) in [
        ("entries", message_frame(1, &Entries { entries: vec![], last: true }).unwrap()),
        ("an acknowledgement", message_frame(1, &Taken { count: 1, last: false }).unwrap()),
        ("a file that ends", message_frame(1, &Begin { number: 77, offer }).unwrap()),
    ] {
        let (outcome, lane) = with_fed_lane(&world, frames);
        assert!(matches!(lane, Err(TransferError::Link(_)) | Ok(())), "{name}: {lane:?}");
        assert_arrived(&world, &outcome);
    }
}

#[test]
fn a_wrong_sum_on_a_lane_ends_the_transfer() {
    let mut world = World::new();
    world.file("large", vec![1; 40 * CHUNK]);
    // Slow enough for the lane to join.
    world.rate = Some(4 << 20);
    let pack = vec![0; 1000];
    let head = LiteralHead { len: 1000, sum: [9; 16], encoding: 0 }.encode();
    let frame = block_on(async {
        let (a, mut b) = duplex(1 << 16);
        Link::new(a).writer.bulk(Kind::Pack, &head, &pack).await.unwrap();
        let mut bytes = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut b, &mut bytes).await.unwrap();
        bytes
    });
    let mismatch = |failure: &Failure| failure.cause == Cause::Mismatch;
    let (outcome, lane) = with_fed_lane(&world, frame);
    assert!(matches!(lane, Err(TransferError::Local(failure)) if mismatch(&failure)));
    let received = outcome.received.unwrap_err();
    assert!(matches!(received, TransferError::Local(failure) if mismatch(&failure)));
    let sent = outcome.sent.unwrap_err();
    assert!(matches!(sent, TransferError::Remote(failure) if mismatch(&failure)));
}

#[test]
fn a_receiver_that_lies_about_a_lane_loses_the_lane_alone() {
    for said in [vec![(1, false)], vec![(u64::MAX, true)]] {
        let (world, lanes) = (world(), Lanes::default());
        let sends = lanes.sends.clone();
        let thread = std::thread::spawn(move || {
            block_on(async {
                sends.begun().await;
                let (mut peer, ours) = duplex(1 << 16);
                for (count, last) in said {
                    peer.write_all(&message_frame(1, &Taken { count, last }).unwrap())
                        .await
                        .unwrap();
                }
                send_lane(&mut Link::new(ours), &sends, 1, &AtomicU64::new(0)).await
            })
        });
        let outcome = lanes.copy(&world);
        let lane = thread.join().unwrap();
        let lied = matches!(lane, Err(TransferError::Link(LinkError::Misbehaved(_))));
        assert!(lied || lane.is_ok(), "{lane:?}");
        assert_arrived(&world, &outcome);
    }
}
