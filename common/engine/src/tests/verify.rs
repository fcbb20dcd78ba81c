//! `--verify`: both ends hash the whole file, the receiver as it is on its disk.

use super::hostile::{offer, sent_and_answered};
use super::*;
use crate::chunk::sum::sum;
use lariat_wire::protocol::failure::Action;
use lariat_wire::protocol::transfer::Done;

fn asked() -> (Sending, ResolvedOverrides) {
    let how = Sending { hash: true, ..Sending::default() };
    (how, ResolvedOverrides { verify: true, ..ResolvedOverrides::default() })
}

fn hash_of(path: &Path) -> [u8; 32] {
    blake3::hash(&std::fs::read(path).unwrap()).into()
}

#[test]
fn both_ends_give_the_file_s_hash() {
    let (how, overrides) = asked();
    for size in [0, 1, C - 1, C, 3 * C + 5] {
        let world = World::new();
        let mut source = world.source(size, 1);
        // Fresh, then equal to what is there.
        for changed in [true, false] {
            let (sent, received) = world.transfer_with(&mut source, None, how, &overrides);
            let (sent, received) = (sent.unwrap(), received.unwrap());
            let hash = Some(hash_of(&world.path("dest")));
            assert_eq!((sent.hash, received.hash, sent.changed), (hash, hash, changed), "{size}");
        }
        world.assert_nothing_left(2);
    }
    let world = World::new();
    let mut source = world.source(C, 1);
    let (sent, received) = world.transfer(&mut source, None);
    assert_eq!((sent.unwrap().hash, received.unwrap().hash), (None, None), "nobody asked");
}

#[test]
fn an_update_a_resume_and_a_file_in_place_are_verified() {
    let (how, overrides) = asked();
    let old = World::new();
    old.source(3 * C + 9, 1);
    let old = std::fs::read(old.path("source")).unwrap();
    let world = world_with_dest(&old);
    let mut source = world.source(3 * C + 5, 2);
    world.transfer_with(&mut source, Some(2 * C), how, &overrides).1.unwrap_err();
    assert!(world.part().exists());
    let (sent, received) = world.transfer_with(&mut source, None, how, &overrides);
    let hash = Some(hash_of(&world.path("source")));
    assert_eq!((sent.unwrap().hash, received.unwrap().hash), (hash, hash));
    world.assert_copied();

    let world = world_with_dest(&old);
    let mut source = world.source(3 * C + 5, 2);
    let opened = Opened::open(world.place(), World::owner(), source.offer(), Busy::Wait, true);
    let target = Target::File(Box::new(opened.unwrap()));
    let (sent, received) = World::transfer_into(target, &mut source, None, how, &overrides);
    let hash = Some(hash_of(&world.path("source")));
    assert_eq!((sent.unwrap().hash, received.unwrap().hash), (hash, hash));
    world.assert_copied();
}

#[test]
fn a_stream_is_hashed_as_it_goes() {
    let (how, overrides) = asked();
    for size in [0, 7, C, 2 * C + 3] {
        let world = World::new();
        world.source(size, 1);
        let bytes = std::fs::read(world.path("source")).unwrap();
        let now = Time { secs: 1, nanos: 0 };
        let mut source = Source::stream(std::io::Cursor::new(bytes), now).unwrap();
        let (sent, received) = world.transfer_with(&mut source, None, how, &overrides);
        let hash = Some(hash_of(&world.path("dest")));
        assert_eq!((sent.unwrap().hash, received.unwrap().hash), (hash, hash), "{size}");
    }
}

/// Plays a sender of two chunks of ones, whose file is touched on the disk before `Complete` comes.
fn receive_touched(
    world: &World,
    verify: bool,
    hash: Option<[u8; 32]>,
    touch: impl Fn(&Path),
) -> Result<Transferred, TransferError> {
    let offer = offer(2 * C);
    let target = world.target(&offer);
    let overrides = ResolvedOverrides { verify, ..ResolvedOverrides::default() };
    let options = CommitOptions::new(&overrides, Preserve::default(), offer.metadata.clone());
    let bytes = vec![1; CHUNK];
    let chunk = |index| {
        let head = ChunkHead { index, sum: sum(offer.seed, &bytes), encoding: 0 }.encode();
        let len = ChunkHead::LEN + CHUNK;
        let header = Header { kind: Kind::Chunk, request: 1, len }.encode();
        [&header[..], &head, &bytes].concat()
    };
    let (mut peer, ours) = duplex(1 << 16);
    block_on(async {
        let sending = async {
            peer.write_all(&[chunk(0), chunk(1)].concat()).await.unwrap();
            // The second chunk is in the file once its byte is.
            let is_there = || std::fs::read(world.part()).is_ok_and(|is| is.len() as u64 == 2 * C);
            while !is_there() {
                tokio::task::yield_now().await;
            }
            touch(&world.part());
            let complete = message_frame(1, &Complete { size: 2 * C, hash }).unwrap();
            peer.write_all(&complete).await.unwrap();
            std::future::pending::<()>().await;
        };
        let mut link = Link::new(ours);
        let (never, mut got) = (Cancel::default(), Transferred::default());
        let receiving = receive(&mut link, target, &offer, &options, &Unwatched, &never, &mut got);
        tokio::select! { done = receiving => done.map(|()| got), () = sending => unreachable!() }
    })
}

#[test]
fn what_changes_between_its_arrival_and_its_name_is_found_out() {
    let flip = |path: &Path| {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[2], C + 77).unwrap();
    };
    let ones = Some(blake3::hash(&vec![1; 2 * CHUNK]).into());
    let mismatch = |done: Result<Transferred, TransferError>| {
        matches!(
            done,
            Err(TransferError::Local(Failure {
                action: Action::Verify,
                cause: Cause::Mismatch,
                ..
            }))
        )
    };
    let world = world_with_dest(b"old");
    assert!(mismatch(receive_touched(&world, true, ones, flip)));
    assert!(mismatch(receive_touched(&world, true, Some([9; 32]), |_| ())));
    assert_eq!(std::fs::read(world.path("dest")).unwrap(), b"old");
    world.assert_nothing_left(1);
    // A sender that gives no hash is not compared with, and gets one.
    let got = receive_touched(&world, true, None, |_| ()).unwrap();
    assert_eq!(got.hash, ones);
    let world = World::new();
    receive_touched(&world, false, None, flip).unwrap();
    assert_ne!(Some(hash_of(&world.path("dest"))), ones, "the test's damage is real");
}

#[test]
fn a_receiver_whose_hash_differs_has_failed() {
    let world = World::new();
    let mut source = world.source(C, 1);
    let path = world.path("source");
    for (theirs, good) in [(Some(hash_of(&path)), true), (None, true), (Some([9; 32]), false)] {
        let sent =
            sent_and_answered(&mut source, asked().0, &[], Done { changed: true, hash: theirs });
        assert_eq!(sent.is_ok(), good, "{sent:?}");
    }
    let early = message_frame(1, &Done { changed: true, hash: None }).unwrap();
    let done = Done { changed: true, hash: None };
    let sent = sent_and_answered(&mut source, asked().0, &[early], done);
    assert!(matches!(sent, Err(TransferError::Link(LinkError::Misbehaved(_)))), "{sent:?}");
}
