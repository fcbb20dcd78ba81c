//! Transfers over several connections: shared, cut, hostile.

use super::hostile::chunk_frame;
use super::*;
use crate::chunk::sum::sum;
use crate::send::{SendLanes, SendOptions, send_lane};
use crate::{ReceiveLanes, Receiving, receive_lane};
use lariat_wire::protocol::transfer::Taken;
use std::sync::atomic::AtomicU64;

type Ends = (Result<Transferred, TransferError>, Result<Transferred, TransferError>);

/// The lanes of both ends.
#[derive(Clone, Default)]
struct Lanes {
    sends: SendLanes,
    receives: ReceiveLanes,
}

/// What came of a lane's connections: chunks that the sender knows to have arrived, and the last results.
struct Lane {
    taken: u64,
    sent: Result<(), TransferError>,
    received: Result<(), TransferError>,
}

impl Lane {
    fn is_ok(&self) -> bool {
        self.sent.is_ok() && self.received.is_ok()
    }
}

impl Lanes {
    /// The first connection, cut after `cut` bytes towards the receiver.
    async fn first(&self, world: &World, source: &mut Source, cut: Option<u64>) -> Ends {
        let offer = source.offer().clone();
        let (a, b) = duplex(1 << 16);
        let (mut from, mut to) = (Link::new(a), Link::new(Cut { stream: b, left: cut }));
        let how = SendOptions::default().on_lanes(self.sends.clone());
        let into = Receiving::from(world.target(&offer)).on_lanes(self.receives.clone());
        let (never, options) = (Cancel::default(), plain(&offer));
        let sending = async {
            let mut sent = Transferred::default();
            let done = send(&mut from, source, how, &Unwatched, &never, &mut sent).await;
            drop(from);
            done.map(|_| sent)
        };
        let receiving = async {
            let (never, mut got) = (Cancel::default(), Transferred::default());
            let done = receive(&mut to, into, &offer, &options, &Unwatched, &never, &mut got).await;
            drop(to);
            done.map(|()| got)
        };
        tokio::join!(sending, receiving)
    }

    /// A lane's connections, one after another, each cut after so many bytes towards the receiver.
    async fn lane(&self, number: u8, cuts: &[Option<u64>]) -> Lane {
        let mut lane = Lane { taken: 0, sent: Ok(()), received: Ok(()) };
        for &cut in cuts {
            let (a, b) = duplex(1 << 16);
            let (mut from, mut to) = (Link::new(a), Link::new(Cut { stream: b, left: cut }));
            let sending = async {
                let taken = AtomicU64::new(0);
                let sent = send_lane(&mut from, &self.sends, number, &taken).await;
                end(from, sent.is_ok()).await;
                (taken.into_inner(), sent)
            };
            let receiving = async {
                let received =
                    receive_lane(&mut to, &self.receives, number, &AtomicU64::new(0)).await;
                end(to, received.is_ok()).await;
                received
            };
            let ((taken, sent), received) = tokio::join!(sending, receiving);
            lane.taken += taken;
            (lane.sent, lane.received) = (sent, received);
        }
        lane
    }
}

/// Ends a connection, in order or not.
async fn end<S: AsyncRead + AsyncWrite>(mut link: Link<S>, in_order: bool) {
    if in_order {
        // The other end may be gone.
        let _ = link.writer.finish().await;
    }
}

const WHOLE: &[Option<u64>] = &[None];

#[test]
fn every_connection_takes_its_part_and_the_file_is_exact() {
    for size in [0, 1, C, 40 * C + 7] {
        let world = World::new();
        let mut source = world.source(size, 1);
        let lanes = Lanes::default();
        let ((sent, received), a, b, c) = block_on(async {
            tokio::join!(
                lanes.first(&world, &mut source, None),
                lanes.lane(1, WHOLE),
                lanes.lane(2, WHOLE),
                lanes.lane(3, WHOLE),
            )
        });
        for lane in [&a, &b, &c] {
            assert!(lane.is_ok(), "{size}: {:?} {:?}", lane.sent, lane.received);
            assert!(lane.taken > 4 || size < 40 * C, "{}", lane.taken);
        }
        let (sent, received) = (sent.unwrap(), received.unwrap());
        assert_eq!((sent.moved, received.moved, sent.sent), (size, size, received.sent));
        world.assert_copied();
    }
}

#[test]
fn lanes_that_break_cost_nothing_but_what_was_on_its_way() {
    let (size, frame) = (40 * C + 7, 8 + ChunkHead::LEN as u64 + C);
    for cut in [0, 7, frame - 1, frame, 3 * frame + 100] {
        let world = World::new();
        let mut source = world.source(size, 1);
        let lanes = Lanes::default();
        let often = [Some(cut); 3];
        let ((sent, received), a, b) = block_on(async {
            tokio::join!(
                lanes.first(&world, &mut source, None),
                lanes.lane(1, &often),
                lanes.lane(2, &often),
            )
        });
        for lane in [&a, &b] {
            assert!(lane.taken <= 3 * (cut / frame));
        }
        assert_eq!((sent.unwrap().moved, received.unwrap().moved), (size, size), "{cut}");
        world.assert_copied();
    }
}

#[test]
fn when_the_first_breaks_all_end_and_what_lanes_brought_is_kept() {
    let (size, frame) = (80 * C + 7, 8 + ChunkHead::LEN as u64 + C);
    let world = World::new();
    let mut source = world.source(size, 1);
    // The same lanes serve all attempts.
    let lanes = Lanes::default();
    let mut left = size;
    for cut in [Some(6 * frame + 9), Some(4 * frame), Some(5 * frame), None] {
        let ((sent, received), a, b) = block_on(async {
            let lane = async |number| {
                tokio::join!(lanes.sends.opened(), lanes.receives.opened());
                lanes.lane(number, WHOLE).await
            };
            tokio::join!(lanes.first(&world, &mut source, cut), lane(1), lane(2))
        });
        assert!(a.taken + b.taken > 0);
        match (sent, received) {
            (Ok(sent), Ok(received)) => {
                assert!(cut.is_none());
                assert_eq!(sent.moved, received.moved);
                assert!(sent.moved <= left, "{} of {left}", sent.moved);
            }
            (Err(_), Err(TransferError::Link(LinkError::Cut))) => {
                assert!(cut.is_some());
                left -= (a.taken + b.taken) * C;
            }
            ends => panic!("{ends:?}"),
        }
    }
    assert!(left < size);
    world.assert_copied();
}

#[test]
fn a_lane_of_the_same_number_replaces_one_whose_end_was_not_noticed() {
    let world = World::new();
    let mut source = world.source(40 * C, 1);
    let lanes = Lanes::default();
    let ((sent, _), (), ()) = block_on(async {
        let stuck = async {
            // Its other end reads nothing and never answers.
            let (a, _b) = duplex(1 << 16);
            let mut link = Link::new(a);
            assert!(send_lane(&mut link, &lanes.sends, 1, &AtomicU64::new(0)).await.is_ok());
        };
        let second = async {
            lanes.sends.opened().await;
            tokio::task::yield_now().await;
            assert!(lanes.lane(1, WHOLE).await.taken > 0);
        };
        tokio::join!(lanes.first(&world, &mut source, None), stuck, second)
    });
    sent.unwrap();
    world.assert_copied();
}

/// A transfer whose only lane is fed with these frames as if from a sender.
fn with_fed_lane(world: &World, frames: &[Vec<u8>]) -> (Ends, Result<(), TransferError>) {
    let mut source = world.source(8 * C, 1);
    let lanes = Lanes::default();
    block_on(async {
        let fed = async {
            let (mut peer, ours) = duplex(1 << 23);
            peer.write_all(&frames.concat()).await.unwrap();
            receive_lane(&mut Link::new(ours), &lanes.receives, 1, &AtomicU64::new(0)).await
        };
        let (ends, fed) = tokio::join!(lanes.first(world, &mut source, None), fed);
        (ends, fed)
    })
}

#[test]
fn a_lane_with_what_nobody_asked_for_ends_alone_and_a_wrong_sum_ends_all() {
    let bytes = vec![1; CHUNK];
    let good = |index| chunk_frame(index, sum(7, &bytes), &bytes);
    let complete = message_frame(1, &Complete { size: 8 * C, hash: None }).unwrap();
    let headless =
        [&Header { kind: Kind::Chunk, request: 1, len: 3 }.encode()[..], &[0; 3]].concat();
    for (name, frame) in [
        ("an index past the end", good(8)),
        ("an index that wraps", chunk_frame(u64::MAX, [9; 16], &bytes)),
        ("a short chunk", chunk_frame(0, [9; 16], &bytes[1..])),
        ("a frame without a head", headless),
        ("a frame that has no place on a lane", complete),
    ] {
        let world = World::new();
        let ((sent, received), lane) = with_fed_lane(&world, &[frame]);
        assert!(matches!(lane, Err(TransferError::Link(_))), "{name}: {lane:?}");
        assert!(sent.is_ok() && received.is_ok(), "{name}");
        world.assert_copied();
    }
    let world = World::new();
    let ((sent, received), _) = with_fed_lane(&world, &[chunk_frame(0, [9; 16], &bytes)]);
    let mismatch = |failure: &Failure| failure.cause == Cause::Mismatch;
    assert!(matches!(&received, Err(TransferError::Local(failure)) if mismatch(failure)));
    assert!(matches!(&sent, Err(TransferError::Remote(failure)) if mismatch(failure)));
    assert!(!world.path("dest").exists());
}

#[test]
fn chunks_that_the_receiver_has_can_not_come_on_a_lane() {
    let world = World::new();
    let mut source = world.source(8 * C, 1);
    let _ = world.transfer(&mut source, Some(3 * (C + 100)));
    let bytes = vec![1; CHUNK];
    let frame = chunk_frame(0, sum(source.offer().seed, &bytes), &bytes);
    let (_, lane) = with_fed_lane(&world, &[frame]);
    assert!(matches!(lane, Err(TransferError::Link(LinkError::Misbehaved(_)))), "{lane:?}");
    world.assert_copied();
}

#[test]
fn a_receiver_that_lies_about_a_lane_loses_the_lane_alone() {
    for said in [vec![1], vec![u64::MAX], vec![1, 0]] {
        let world = World::new();
        let mut source = world.source(8 * C, 1);
        let lanes = Lanes::default();
        let ((sent, received), lied) = block_on(async {
            let lie = async {
                let (mut peer, ours) = duplex(1 << 16);
                for &chunks in &said {
                    peer.write_all(&message_frame(1, &Taken { chunks }).unwrap()).await.unwrap();
                }
                let mut link = Link::new(ours);
                send_lane(&mut link, &lanes.sends, 1, &AtomicU64::new(0)).await
            };
            let lie = tokio::time::timeout(Duration::from_secs(10), lie);
            tokio::join!(lanes.first(&world, &mut source, None), lie)
        });
        assert!(matches!(lied, Ok(Err(TransferError::Link(_)))), "{said:?} {lied:?}");
        assert!(sent.is_ok() && received.is_ok());
        world.assert_copied();
    }
}

#[test]
fn a_lane_comes_too_early_or_too_late() {
    let world = World::new();
    let mut source = world.source(4 * C, 1);
    let lanes = Lanes::default();
    block_on(async {
        let early = lanes.lane(1, WHOLE);
        let first = async {
            tokio::task::yield_now().await;
            lanes.first(&world, &mut source, None).await
        };
        let (early, (sent, _)) = tokio::join!(early, first);
        assert!(early.is_ok() && sent.is_ok(), "{:?} {:?}", early.sent, early.received);
        let late = lanes.lane(2, WHOLE).await;
        assert!(late.is_ok() && late.taken == 0);
    });
    world.assert_copied();
}

#[test]
fn a_source_that_shrinks_under_a_lane_ends_the_transfer_with_that_cause() {
    let world = World::new();
    let mut source = world.source(40 * C, 1);
    let lanes = Lanes::default();
    let ((sent, received), _) = block_on(async {
        let lane = async {
            lanes.sends.opened().await;
            std::fs::File::options()
                .write(true)
                .open(world.path("source"))
                .unwrap()
                .set_len(C)
                .unwrap();
            lanes.lane(1, WHOLE).await
        };
        tokio::join!(lanes.first(&world, &mut source, None), lane)
    });
    let shrank = |failure: &Failure| failure.cause == Cause::SourceShrank;
    assert!(matches!(&sent, Err(TransferError::Local(failure)) if shrank(failure)), "{sent:?}");
    assert!(matches!(&received, Err(TransferError::Remote(failure)) if shrank(failure)));
}

#[test]
fn a_basis_is_used_on_one_connection() {
    let world = World::new();
    let mut source = world.source(8 * C, 1);
    std::fs::copy(world.path("source"), world.path("dest")).unwrap();
    let lanes = Lanes::default();
    let ((sent, received), lane) = block_on(async {
        tokio::join!(lanes.first(&world, &mut source, None), lanes.lane(1, WHOLE))
    });
    assert_eq!((sent.unwrap().moved, received.unwrap().moved, lane.taken), (0, 0, 0));
    world.assert_copied();
}
