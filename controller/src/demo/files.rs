//! Files of the tour: one that does not compress, and whether two are equal.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use rand::RngExt;
use rand::rngs::SmallRng;

use crate::error::CliError;

/// A file of random bytes: nothing that could be sent in fewer.
pub(super) fn make(path: &Path, size: u64) -> Result<(), CliError> {
    let failed = |e: std::io::Error| CliError::from(e).during(format!("write {}", path.display()));
    let mut file = File::create(path).map_err(failed)?;
    let mut block = vec![0; 1024 * 1024];
    let mut random: SmallRng = rand::make_rng();
    for _ in 0..size / block.len() as u64 {
        random.fill(block.as_mut_slice());
        file.write_all(&block).map_err(failed)?;
    }
    Ok(())
}

/// Compares two files byte by byte.
pub(super) fn compare(one: &Path, other: &Path) -> Result<(), CliError> {
    let open = |path: &Path| {
        File::open(path).map_err(|e| CliError::from(e).during(format!("open {}", path.display())))
    };
    let (mut one, mut other) = (open(one)?, open(other)?);
    let (mut a, mut b) = (vec![0; 1024 * 1024], vec![0; 1024 * 1024]);
    loop {
        let read = one.read(&mut a)?;
        let there = other.read_exact(&mut b[..read]).is_ok();
        let ended = read == 0 && other.read(&mut b[..1])? == 0;
        match (ended, read > 0 && there && a[..read] == b[..read]) {
            (true, _) => return Ok(()),
            (false, true) => {}
            (false, false) => return Err(CliError::new("what came back is not what was sent")),
        }
    }
}
