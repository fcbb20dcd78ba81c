//! Peers that break the rules of an update.

use super::hostile::{Ended, answered, offer, receive_into, send_to};
use super::*;
use crate::chunk::sum::sum;
use lariat_wire::protocol::transfer::{Basis, Copies, Copy, Done, LiteralHead, PIECE_LEN};

/// What is under the name before.
fn old() -> Vec<u8> {
    (0..200_000_u64).map(|i| (i / 3 * i).to_le_bytes()[1]).collect()
}

fn copies(parts: &[(u64, u32)]) -> Vec<u8> {
    let copies = parts.iter().map(|&(from, len)| Copy { from, len }).collect();
    message_frame(1, &Copies { copies }).unwrap()
}

fn literal(len: u32, encoding: u8, body: &[u8]) -> Vec<u8> {
    let header =
        Header { kind: Kind::Literal, request: 1, len: LiteralHead::LEN + body.len() }.encode();
    [&header[..], &LiteralHead { len, sum: sum(7, body), encoding }.encode(), body].concat()
}

#[test]
fn a_sender_that_breaks_the_rules_leaves_the_old_file() {
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
    let full = u32::try_from(CHUNK).unwrap();
    let whole: Vec<Vec<u8>> = (0..2).map(|_| literal(full, 0, &vec![5; CHUNK])).collect();
    let complete = message_frame(1, &Complete { size: 2 * C, hash: None }).unwrap();
    let attacks: [(&str, Vec<Vec<u8>>); 15] = [
        ("a copy from behind the basis", vec![copies(&[(200_000, 1)])]),
        ("a copy over the basis' end", vec![copies(&[(199_999, 2)])]),
        ("a copy that wraps", vec![copies(&[(u64::MAX, 2)])]),
        ("an empty copy", vec![copies(&[(0, 0)])]),
        ("a copy of everything", vec![copies(&[(0, u32::MAX)])]),
        ("more copies than the file has", vec![copies(&[(0, 200_000); 6])]),
        ("an empty literal", vec![literal(0, 0, b"")]),
        ("a literal longer than a chunk", vec![literal(full + 1, 1, b"")]),
        ("a literal without an end", vec![literal(u32::MAX, 1, b"")]),
        ("a literal past the file's end", vec![whole.concat(), literal(1, 0, b"x")]),
        ("a literal with another length", vec![literal(9, 0, b"ten bytes!")]),
        ("a literal in an unknown encoding", vec![literal(1, 3, b"x")]),
        ("a literal that expands", vec![literal(full, 2, &bomb)]),
        ("copies when all is there", vec![whole.concat(), copies(&[(0, 1)])]),
        ("an end before the end", vec![copies(&[(0, 10)]), complete.clone()]),
    ];
    for (name, frames) in attacks {
        let world = world_with_dest(&old());
        let received = receive_into(&world, &frames, &offer(2 * C), Ended::Cut);
        assert!(
            matches!(received, Err(TransferError::Link(LinkError::Misbehaved(_)))),
            "{name}: {received:?}"
        );
        assert!(std::fs::read(world.path("dest")).unwrap() == old(), "{name}");
    }
    let world = world_with_dest(&old());
    let wrong = [whole[0].clone(), literal(full, 0, &vec![5; CHUNK])];
    let mut wrong = wrong.concat();
    *wrong.last_mut().unwrap() ^= 1;
    let received = receive_into(&world, &[wrong, complete], &offer(2 * C), Ended::Cut);
    assert!(
        matches!(&received, Err(TransferError::Local(f)) if f.cause == Cause::Mismatch),
        "{received:?}"
    );
    assert!(std::fs::read(world.path("dest")).unwrap() == old());
    world.assert_nothing_left(1);
}

#[test]
fn a_delta_that_nobody_asked_for_is_refused() {
    for frame in [copies(&[(0, 1)]), copies(&[]), literal(1, 0, b"x")] {
        let world = World::new();
        let received = receive_into(&world, &[frame], &offer(2 * C), Ended::Cut);
        assert!(
            matches!(received, Err(TransferError::Link(LinkError::Misbehaved(_)))),
            "{received:?}"
        );
        world.assert_nothing_left(0);
    }
}

fn basis(size: u64, average_log2: u8) -> Vec<u8> {
    let basis = Some(Basis { size, average_log2, seed: 1 });
    message_frame(1, &Have { chunks: Vec::new(), begun: None, basis }).unwrap()
}

fn pieces(lens: &[u32]) -> Vec<u8> {
    let header = Header { kind: Kind::Pieces, request: 1, len: PIECE_LEN * lens.len() }.encode();
    let pieces = lens.iter().flat_map(|len| [&[1; 16][..], &len.to_le_bytes()].concat());
    header.into_iter().chain(pieces).collect()
}

fn hashes(first: u64, count: usize) -> Vec<u8> {
    message_frame(1, &Hashes { first, hashes: vec![[0; 32]; count] }).unwrap()
}

#[test]
fn a_receiver_that_breaks_the_rules_is_told_so() {
    let half = Header { kind: Kind::Pieces, request: 1, len: PIECE_LEN + 1 }.encode();
    let half = [&half[..], &[0; PIECE_LEN + 1]].concat();
    let all: &[u32] = &[4096; 4];
    let attacks: [(&str, Vec<Vec<u8>>); 17] = [
        ("a basis cut too finely", vec![basis(1 << 20, 0)]),
        ("a basis cut too coarsely", vec![basis(1 << 20, 255)]),
        ("a basis that is too large", vec![basis(u64::MAX, 22)]),
        ("pieces longer than the basis", vec![basis(16384, 12), pieces(&[4096; 5])]),
        ("a piece longer than any", vec![basis(1 << 20, 12), pieces(&[u32::MAX])]),
        ("a piece of nothing", vec![basis(1 << 20, 12), pieces(&[0])]),
        ("a piece too short", vec![basis(1 << 20, 12), pieces(&[1, 1])]),
        ("more pieces than there can be", vec![basis(16384, 12), pieces(&[2048; 10])]),
        ("pieces behind the last", vec![basis(16384, 12), pieces(all), pieces(&[4096])]),
        ("half a piece", vec![basis(1 << 20, 12), half]),
        ("pieces without any", vec![basis(1 << 20, 12), pieces(&[])]),
        ("pieces without a basis", vec![basis(0, 12), pieces(&[4096, 4096])]),
        ("hashes twice", vec![basis(16384, 12), pieces(all), hashes(0, 1), hashes(0, 1)]),
        ("more hashes than chunks", vec![basis(16384, 12), pieces(all), hashes(0, 3)]),
        ("hashes past the end", vec![basis(16384, 12), pieces(all), hashes(1, 2)]),
        ("hashes that wrap", vec![basis(16384, 12), pieces(all), hashes(u64::MAX, 2)]),
        ("hashes without any", vec![basis(16384, 12), pieces(all), hashes(0, 0)]),
    ];
    for (name, frames) in attacks {
        let sent = send_to(&frames, 2 * C);
        assert!(
            matches!(sent, Err(TransferError::Link(LinkError::Misbehaved(_)))),
            "{name}: {sent:?}"
        );
    }
}

#[test]
fn what_differs_is_sent_however_early_its_hashes_come() {
    let world = World::new();
    let mut source = world.source(2 * C, 1);
    let chunks = vec![Range { first: 0, count: 2 }];
    let basis = Some(Basis { size: 16384, average_log2: 12, seed: 1 });
    let have = message_frame(1, &Have { chunks, begun: None, basis }).unwrap();
    // All hashes come before the plan is made, which waits for the basis.
    let frames = [have, hashes(0, 2), pieces(&[4096; 4])];
    let done = Done { changed: true, hash: None };
    let sent = answered(&mut source, Sending::default(), &frames, done).unwrap();
    assert_eq!(sent.moved, 2 * C);
}

#[test]
fn a_file_of_one_chunk_has_no_basis() {
    for size in [0, 1, C] {
        let sent = send_to(&[basis(1 << 20, 12)], size);
        assert!(matches!(sent, Err(TransferError::Link(LinkError::Misbehaved(_)))), "{sent:?}");
    }
}

#[test]
fn a_basis_that_can_t_be_read_is_sent_anew() {
    let world = world_with_dest(&old().repeat(6));
    let mut source = world.source(2 * C, 1);
    let target = world.target(source.offer());
    // Somebody shortens it between being told of and being cut.
    let dest = std::fs::File::options().write(true).open(world.path("dest")).unwrap();
    dest.set_len(300_000).unwrap();
    let (sent, received) = World::transfer_into(
        target,
        &mut source,
        None,
        Sending::default(),
        &ResolvedOverrides::default(),
    );
    assert_eq!((sent.unwrap().moved, received.unwrap().size), (2 * C, 2 * C));
    world.assert_copied();
}
