//! Both ends of a delta played in memory: what is rebuilt is the source, for a price that is bounded.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::*;

mod edits;

const SEED: Seed = Seed(0x5eed);

fn params() -> Params {
    Params::for_basis(0).unwrap()
}

/// Incompressible bytes, equal on every machine for equal seeds (splitmix64).
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    });
    words.take(len.div_ceil(8)).flatten().take(len).collect()
}

fn cutter(bytes: &[u8]) -> Cutter {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Cutter::new(Arc::new(file), bytes.len() as u64, params(), SEED)
}

fn pieces(bytes: &[u8]) -> Vec<Piece> {
    cutter(bytes).collect::<Result<_, _>>().unwrap()
}

/// What the sender makes of it when the basis comes to it at once.
fn plan(basis: &[u8], source: &[u8]) -> Vec<Op> {
    let mut matcher = Matcher::new(Index::new(params(), basis.len() as u64).unwrap());
    let mut ops = vec![];
    pieces(basis).chunks(10).for_each(|batch| matcher.basis(batch, &mut ops).unwrap());
    assert!(matcher.has_basis());
    pieces(source).into_iter().for_each(|piece| matcher.source(piece, &mut ops));
    ops.extend(matcher.finish());
    ops
}

/// What the sender makes of it when the basis comes as it is cut, and how many pieces it had to cut.
fn follow(basis: &[u8], source: &[u8]) -> (Vec<Op>, usize) {
    let mut matcher = Matcher::new(Index::new(params(), basis.len() as u64).unwrap());
    let (mut ops, mut cut) = (vec![], 0);
    let basis = pieces(basis);
    let mut basis = basis.chunks(10);
    let mut cutter = cutter(source);
    loop {
        while matcher.awaits_basis() {
            matcher.basis(basis.next().unwrap(), &mut ops).unwrap();
        }
        cutter.fill().unwrap();
        let likely = matcher.likely();
        let Some(piece) = cutter.cut(likely) else { break };
        cut += usize::from(likely != Some(piece));
        matcher.source(piece, &mut ops);
    }
    basis.for_each(|batch| matcher.basis(batch, &mut ops).unwrap());
    ops.extend(matcher.finish());
    (ops, cut)
}

/// Rebuilds the source as a receiver does, and gives the bytes of literals that this took at most.
///
/// The two plans may differ: a search for a cut sees the byte behind it, a likely piece only its own bytes.
fn rebuild(basis: &[u8], source: &[u8]) -> usize {
    let planned = literals(basis, source, plan(basis, source));
    planned.max(literals(basis, source, follow(basis, source).0))
}

fn literals(basis: &[u8], source: &[u8], ops: Vec<Op>) -> usize {
    let mut layout = Layout::new(basis.len() as u64, Gaps::whole(source.len() as u64));
    let mut literal = 0;
    for op in ops {
        let at = usize::try_from(layout.place(op).unwrap()).unwrap();
        let len = op.length() as usize;
        match op {
            Op::Copy { from, .. } => {
                let from = usize::try_from(from).unwrap();
                assert!(basis[from..from + len] == source[at..at + len], "copied to {at}");
            }
            Op::Literal { .. } => literal += len,
        }
    }
    assert!(layout.is_done());
    literal
}

#[test]
fn cuts_stay_where_they_are() {
    // Ends of different versions must cut alike, or find nothing to copy. A failure here after an
    // update of a dependency means that the number which preserve must change its meaning.
    let pieces = pieces(&noise(1, 1 << 20));
    let mut hasher = blake3::Hasher::new();
    for piece in &pieces {
        hasher.update(&piece.len.to_le_bytes()).update(&piece.hash);
    }
    assert_eq!(pieces.len(), 188);
    assert_eq!(hasher.finalize().to_hex()[..16], *"46f1cdb5f01af470");
}

#[test]
fn lengths_are_in_range_and_add_up() {
    for len in [0, 1, 2047, 2048, 2049, 32 * 1024, 32 * 1024 + 1, 700_001] {
        for bytes in [noise(2, len), vec![0; len]] {
            let pieces = pieces(&bytes);
            assert_eq!(pieces.iter().map(|piece| piece.len as usize).sum::<usize>(), len);
            let (last, others) = pieces.split_last().map_or((0, &[][..]), |(l, o)| (l.len, o));
            assert!(last as usize <= params().max());
            for piece in others {
                assert!((params().min()..=params().max()).contains(&(piece.len as usize)));
            }
        }
    }
}

#[test]
fn a_file_that_ends_early_is_an_error_once() {
    let file = Arc::new(tempfile::tempfile().unwrap());
    let mut cutter = Cutter::new(file, 10, params(), SEED);
    let error = cutter.next().unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(cutter.next().is_none());
}

#[test]
fn the_seed_changes_every_hash_and_no_cut() {
    let bytes = noise(3, 100_000);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let other = Cutter::new(Arc::new(file), 100_000, params(), Seed(1));
    for (ours, other) in pieces(&bytes).into_iter().zip(other) {
        let other = other.unwrap();
        assert_eq!(ours.len, other.len);
        assert_ne!(ours.hash, other.hash);
    }
}

#[test]
fn a_byte_in_front_costs_next_to_nothing() {
    let basis = noise(4, 64 << 20);
    let source = [&b"x"[..], &basis].concat();
    let literal = rebuild(&basis, &source);
    assert!(literal <= 3 * params().max(), "{literal} bytes");
    assert_eq!(plan(&basis, &source).len(), 2);
    let (_, cut) = follow(&basis, &source);
    assert!(cut < 10, "{cut} pieces of a file that is alike were cut");
}

#[test]
fn scattered_edits_cost_themselves_and_the_pieces_they_touch() {
    let basis = noise(5, 32 << 20);
    let mut source = basis.clone();
    let edits = 80;
    for edit in 0..edits {
        let at = edit * (source.len() / edits);
        source[at..at + 4096].copy_from_slice(&noise(edit as u64, 4096));
    }
    let literal = rebuild(&basis, &source);
    assert!(literal < edits * (4096 + 2 * 5460), "{literal} bytes");
}

#[test]
fn zeros_are_fast_and_cost_nothing() {
    // The thread's own time, which does not depend on the machine's load.
    let cpu = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let started = cpu();
    let basis = vec![0; 64 << 20];
    let source = vec![0; (64 << 20) + 5];
    assert!(rebuild(&basis, &source) < params().max());
    assert!(plan(&basis, &source).len() < 5);
    assert!(rebuild(&source, &basis) < params().max());
    assert!(rebuild(&basis, &[noise(6, 100), basis.clone()].concat()) < 2 * params().max());
    let took = cpu().saturating_sub(started);
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn the_end_of_the_basis_is_no_cut() {
    // Nowhere a place to cut at: whoever cuts once where no cut is never gets in step again.
    let source = b"ab".repeat(250_000);
    assert!(rebuild(&source[..231_589], &source) < params().max());
}

#[test]
fn nothing_against_anything() {
    let some = noise(7, 50_000);
    assert_eq!(rebuild(&[], &[]), 0);
    assert_eq!(rebuild(&some, &[]), 0);
    assert_eq!(rebuild(&[], &some), some.len());
    assert_eq!(rebuild(b"a", b"b"), 1);
    assert_eq!(rebuild(b"a", b"a"), 0);
    assert_eq!(rebuild(&some, &some), 0);
}
