//! What a delta costs: how fast a file is cut, and what is sent for 1 GiB with 2,621 scattered edits
//! of 4 KiB and one byte inserted in front. Takes the directory for the two files of 1 GiB (default:
//! the system's temporary one).
//!
//! ```text
//! cargo run --release -p lariat-common --example cut_speed -- /dev/shm
//! ```
#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use lariat_engine::delta::{Cutter, Index, Matcher, Op, Params, Piece, Seed};
use rustix::time::{ClockId, clock_gettime};

const SIZE: u64 = 1 << 30;
const EDIT: usize = 4096;
const EDITS: u64 = 2621;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let basis = file(&directory, false)?;
    let source = file(&directory, true)?;
    let zeros = Arc::new(tempfile::tempfile_in(&directory)?);
    zeros.set_len(SIZE)?;
    for average_log2 in 12..=14 {
        let params = Params::from_average_log2(average_log2).ok_or("out of range")?;
        let cut = |file: &Arc<File>, size| -> io::Result<Vec<Piece>> {
            Cutter::new(file.clone(), size, params, Seed(7)).collect()
        };
        let (list, speed) = best(|| cut(&basis, SIZE))?;
        let (_, hole) = best(|| cut(&zeros, SIZE))?;
        let (ops, follow) = best(|| follow(&list, &source, params))?;
        let literal = ops.iter().filter(|op| matches!(op, Op::Literal { .. }));
        let literal: u64 = literal.map(|op| u64::from(op.length())).sum();
        println!(
            "average {:2} KiB: cut {:.2} GB/s of CPU, zeros {:.2}; list of {} pieces {:.1} MB; \
             source followed {:.2} GB/s; {} runs, literals {:.1} MB",
            1 << (average_log2 - 10),
            gigabytes(SIZE) / speed,
            gigabytes(SIZE) / hole,
            list.len(),
            gigabytes(list.len() as u64 * 18) * 1e3,
            gigabytes(SIZE) / follow,
            ops.len(),
            gigabytes(literal) * 1e3,
        );
    }
    Ok(())
}

/// The runs that a sender finds for the source while the basis' pieces come.
fn follow(basis: &[Piece], source: &Arc<File>, params: Params) -> io::Result<Vec<Op>> {
    let mut matcher = Matcher::new(Index::new(params, SIZE).map_err(io::Error::other)?);
    let mut cutter = Cutter::new(source.clone(), SIZE + 1, params, Seed(7));
    let mut basis = basis.chunks(1024);
    let mut ops = Vec::new();
    loop {
        let piece = if matcher.awaits_basis() {
            None
        } else {
            cutter.fill()?;
            cutter.cut(matcher.likely())
        };
        if let Some(piece) = piece {
            matcher.source(piece, &mut ops);
        } else if let Some(pieces) = basis.next() {
            matcher.basis(pieces, &mut ops).map_err(io::Error::other)?;
        } else {
            break;
        }
    }
    ops.extend(matcher.finish());
    Ok(ops)
}

/// A file of random bytes; the edited one has a byte more in front, and other bytes here and there.
fn file(directory: &PathBuf, edited: bool) -> io::Result<Arc<File>> {
    let mut file = BufWriter::new(tempfile::tempfile_in(directory)?);
    let (mut same, mut other, mut dice) = (0, 1 << 40, 1 << 50);
    let mut edits_left = EDITS;
    if edited {
        file.write_all(b"x")?;
    }
    let blocks = SIZE / EDIT as u64;
    for block in 0..blocks {
        // Each choice of blocks is equally likely.
        let chosen = edited && next(&mut dice) % (blocks - block) < edits_left;
        let mut bytes = noise(&mut same);
        if chosen {
            bytes = noise(&mut other);
            edits_left -= 1;
        }
        file.write_all(&bytes)?;
    }
    Ok(Arc::new(file.into_inner()?))
}

fn noise(state: &mut u64) -> [u8; EDIT] {
    let mut block = [0; EDIT];
    block.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&next(state).to_le_bytes()));
    block
}

/// The next number of a stream that nothing compresses (splitmix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The least CPU time of a few rounds, in seconds: wall clock would measure the neighbours too.
fn best<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<(T, f64)> {
    let mut timed = || {
        let started = cpu();
        work().map(|done| (done, cpu() - started))
    };
    let (mut done, mut least) = timed()?;
    for _ in 0..4 {
        let (again, time) = timed()?;
        (done, least) = (again, least.min(time));
    }
    Ok((done, least))
}

#[allow(clippy::cast_precision_loss, reason = "seconds and their thousandths are enough")]
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

#[allow(clippy::cast_precision_loss, reason = "for print")]
fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 * 1e-9
}
