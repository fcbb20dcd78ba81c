//! Peers that break the rules.

use super::*;
use crate::chunk::sum::sum;
use lariat_wire::protocol::Message;
use lariat_wire::protocol::transfer::Done;
use lariat_wire::protocol::transfer::Sum;

/// What a hostile end does after its last frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Waits for the answer, as an honest one does.
    Waits,
    /// Ends the connection.
    Cut,
}

/// Plays a sender of these frames to a receiver, whose link must have stopped for good afterwards.
pub(super) fn receive_into(
    world: &World,
    frames: &[Vec<u8>],
    offer: &Offer,
    ended: Ended,
) -> Result<Transferred, TransferError> {
    let target = world.target(offer);
    let (mut peer, ours) = duplex(1 << 23);
    block_on(async {
        peer.write_all(&frames.concat()).await.unwrap();
        if ended == Ended::Cut {
            peer.shutdown().await.unwrap();
        }
        let mut link = Link::new(ours);
        let (plain, never, mut got) = (plain(offer), Cancel::default(), Transferred::default());
        let done = receive(&mut link, target, offer, &plain, &Unwatched, &never, &mut got).await;
        done.map(|()| got)
    })
}

/// Plays a receiver of these frames to a sender of a file of `size` bytes.
pub(super) fn send_to(frames: &[Vec<u8>], size: u64) -> Result<Done, TransferError> {
    let world = World::new();
    let mut source = world.source(size, 1);
    let (mut peer, ours) = duplex(1 << 23);
    block_on(async {
        peer.write_all(&frames.concat()).await.unwrap();
        let mut link = Link::new(ours);
        let (never, mut sent) = (Cancel::default(), Transferred::default());
        let how = Sending::default();
        let sending = send(&mut link, &mut source, how, &Unwatched, &never, &mut sent);
        tokio::time::timeout(Duration::from_secs(10), sending).await.expect("it does not wait")
    })
}

/// Sends to a receiver without anything, which says these frames at once and `done` when everything has come.
pub(super) fn sent_and_answered(
    source: &mut Source,
    how: Sending,
    at_once: &[Vec<u8>],
    done: Done,
) -> Result<Transferred, TransferError> {
    let have = message_frame(1, &Have::default()).unwrap();
    answered(source, how, &[&[have], at_once].concat(), done)
}

/// Sends to a receiver that says these frames at once and `done` when everything has come.
pub(super) fn answered(
    source: &mut Source,
    how: Sending,
    at_once: &[Vec<u8>],
    done: Done,
) -> Result<Transferred, TransferError> {
    let (mut peer, ours) = duplex(1 << 23);
    block_on(async {
        peer.write_all(&at_once.concat()).await.unwrap();
        let mut link = Link::new(ours);
        let (never, mut sent) = (Cancel::default(), Transferred::default());
        let sending = send(&mut link, source, how, &Unwatched, &never, &mut sent);
        let receiving = async {
            let mut peer = Link::new(peer);
            while peer.next().await.unwrap().unwrap().kind != Complete::KIND {}
            peer.send(&done).await.unwrap();
            std::future::pending::<()>().await;
        };
        let both = async {
            tokio::select! { done = sending => done, () = receiving => unreachable!() }
        };
        let done = tokio::time::timeout(Duration::from_secs(10), both).await;
        done.expect("it does not wait").map(|_| sent)
    })
}

fn encoded(index: u64, encoding: u8, body: &[u8]) -> Vec<u8> {
    let header =
        Header { kind: Kind::Chunk, request: 1, len: ChunkHead::LEN + body.len() }.encode();
    [&header[..], &ChunkHead { index, sum: [9; 16], encoding }.encode(), body].concat()
}

pub(super) fn chunk_frame(index: u64, sum: Sum, bytes: &[u8]) -> Vec<u8> {
    let header =
        Header { kind: Kind::Chunk, request: 1, len: ChunkHead::LEN + bytes.len() }.encode();
    [&header[..], &ChunkHead { index, sum, encoding: 0 }.encode(), bytes].concat()
}

pub(super) fn offer(size: u64) -> Offer {
    let metadata = Metadata { mode: 0o600, ..Metadata::default() };
    Offer { size: Some(size), sparse: false, metadata, identity: Identity::default(), seed: 7 }
}

#[test]
fn a_hostile_sender_writes_nothing_under_the_name() {
    let bytes = vec![1; CHUNK];
    let good = |index| chunk_frame(index, sum(7, &bytes), &bytes);
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
    let short = zstd::bulk::compress(&bytes[1..], 1).unwrap();
    let complete = |size| message_frame(1, &Complete { size, hash: None }).unwrap();
    let attacks: [(&str, Vec<Vec<u8>>); 15] = [
        ("a wrong sum", vec![chunk_frame(0, [9; 16], &bytes)]),
        ("an index past the end", vec![good(2)]),
        ("an index that wraps", vec![chunk_frame(u64::MAX, [9; 16], &bytes)]),
        ("a chunk twice", vec![good(0), good(0)]),
        ("a short chunk", vec![chunk_frame(0, [9; 16], &bytes[1..])]),
        (
            "a frame without a head",
            vec![Header { kind: Kind::Chunk, request: 1, len: 3 }.encode().to_vec(), vec![0; 3]],
        ),
        ("an unknown encoding", vec![encoded(0, 3, &bytes)]),
        ("zeros with a body", vec![encoded(0, 1, &bytes)]),
        ("a body that expands", vec![encoded(0, 2, &bomb)]),
        ("a body that stays short", vec![encoded(0, 2, &short)]),
        ("garbage", vec![encoded(0, 2, &[7; 100])]),
        ("a chunk left out", vec![good(0), complete(2 * C)]),
        ("another size", vec![good(0), good(1), complete(2 * C + 1)]),
        ("the largest file", vec![good(0), good(1), complete(i64::MAX.unsigned_abs())]),
        ("a size that wraps", vec![good(0), good(1), complete(u64::MAX)]),
    ];
    for (name, frames) in attacks {
        let world = World::new();
        let received = receive_into(&world, &frames, &offer(2 * C), Ended::Cut);
        assert!(received.is_err(), "{name}");
        assert!(!world.path("dest").exists(), "{name}");
    }
    let world = World::new();
    let frames = [good(0), good(1), complete(2 * C)];
    receive_into(&world, &frames, &offer(2 * C), Ended::Waits).unwrap();
    assert!(world.path("dest").exists());
}

#[test]
fn a_hostile_receiver_gets_an_error_and_no_memory() {
    let attacks: [(&str, Vec<Vec<u8>>); 4] = [
        ("ranges past the end", vec![have(&[(0, 3)])]),
        ("ranges that wrap", vec![have(&[(1, u64::MAX)])]),
        (
            "hashes of chunks it does not have",
            vec![have(&[]), message_frame(1, &Hashes { first: 0, hashes: vec![[0; 32]] }).unwrap()],
        ),
        ("a frame that has no place here", vec![have(&[]), chunk_frame(0, [0; 16], b"")]),
    ];
    for (name, frames) in attacks {
        let sent = send_to(&frames, 2 * C);
        assert!(
            matches!(
                sent,
                Err(TransferError::Link(LinkError::Misbehaved(_) | LinkError::Unexpected(_)))
            ),
            "{name}: {sent:?}"
        );
    }
}

fn have(ranges: &[(u64, u64)]) -> Vec<u8> {
    let chunks = ranges.iter().map(|&(first, count)| Range { first, count }).collect();
    message_frame(1, &Have { chunks, begun: None, basis: None }).unwrap()
}

#[test]
fn a_size_that_no_file_has_is_refused_before_its_first_byte() {
    assert!(offer(u64::MAX).check().is_err());
    let largest = Offer { sparse: true, ..offer(i64::MAX.unsigned_abs()) };
    assert!(largest.check().is_ok());
    for offer in [largest, Offer { sparse: true, ..offer(u64::MAX) }] {
        let world = World::new();
        let received = receive_into(&world, &[], &offer, Ended::Cut);
        let told = matches!(&received, Err(TransferError::Local(failure))
            if matches!(failure.cause, Cause::BadRequest(_)) && failure.path.is_some());
        assert!(told, "{received:?}");
        world.assert_nothing_left(0);
    }
}

#[test]
fn a_stream_that_lies_about_its_length_gets_no_name() {
    let stream = || Offer { size: None, ..offer(0) };
    let body = vec![1; CHUNK];
    let first = chunk_frame(0, sum(7, &body), &body);
    let complete = |size| message_frame(1, &Complete { size, hash: None }).unwrap();
    let attacks: [(&str, Vec<Vec<u8>>); 4] = [
        ("a chunk out of turn", vec![chunk_frame(1, sum(7, &body), &body)]),
        ("a longer file", vec![first.clone(), complete(2 * C)]),
        ("no file", vec![first.clone(), complete(0)]),
        ("an endless file", vec![first, complete(u64::MAX)]),
    ];
    for (name, frames) in attacks {
        let world = World::new();
        assert!(receive_into(&world, &frames, &stream(), Ended::Cut).is_err(), "{name}");
        world.assert_nothing_left(0);
    }
}
