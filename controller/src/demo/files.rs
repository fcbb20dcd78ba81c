//! Files of the tour: creates an incompressible file, puts a byte in front of one, and compares two.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use rand::RngExt;
use rand::rngs::SmallRng;

use crate::error::CliError;

/// Creates a file of random bytes, which can't be compressed.
pub(super) fn make(path: &Path, size: u64) -> Result<(), CliError> {
    let failed = |e: io::Error| CliError::from(e).during(format!("write {}", path.display()));
    let mut file = File::create(path).map_err(failed)?;
    let mut block = vec![0; 1024 * 1024];
    let mut random: SmallRng = rand::make_rng();
    for _ in 0..size / block.len() as u64 {
        random.fill(block.as_mut_slice());
        file.write_all(&block).map_err(failed)?;
    }
    Ok(())
}

/// Puts a byte in front of all others.
pub(super) fn prepend(path: &Path) -> Result<(), CliError> {
    let longer = path.with_extension("new");
    let copy = || {
        let mut new = File::create(&longer)?;
        new.write_all(b"x")?;
        io::copy(&mut File::open(path)?, &mut new)?;
        std::fs::rename(&longer, path)
    };
    copy().map_err(|e| CliError::from(e).during(format!("write {}", longer.display())))
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
            (false, false) => return Err(CliError::new("what arrived is not what was sent")),
        }
    }
}
