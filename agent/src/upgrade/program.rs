//! The files: the agent's program, the new one beside it, and the old one that stays beside it afterwards.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lariat_base::file_sum;

use crate::jobs::OWN_BINARY;

/// What the kernel adds to the name of a program that was replaced.
const REPLACED: &[u8] = b" (deleted)";

/// The name of this process's program.
pub(super) fn installed() -> io::Result<PathBuf> {
    let name = fs::read_link(OWN_BINARY)?;
    let bytes = name.as_os_str().as_bytes();
    let name = bytes.strip_suffix(REPLACED).unwrap_or(bytes);
    Ok(PathBuf::from(OsStr::from_bytes(name)))
}

/// Where the new program is until it is confirmed. Nobody else gives a file this name.
pub(super) fn new(program: &Path) -> PathBuf {
    beside(program, ".lariat-upgrade")
}

/// Where the old program is after that.
pub(super) fn old(program: &Path) -> PathBuf {
    beside(program, ".old")
}

fn beside(program: &Path, end: &str) -> PathBuf {
    let mut name = program.file_name().unwrap_or_default().to_owned();
    name.push(end);
    program.with_file_name(name)
}

/// Gives the new program the name, and keeps the old one. At any instant the name is one of the two.
pub(super) fn install(program: &Path) -> io::Result<()> {
    let old = old(program);
    remove(&old)?;
    // Not every file system has hard links.
    fs::hard_link(program, &old).or_else(|_| fs::copy(program, &old).map(drop))?;
    fs::rename(new(program), program)?;
    File::open(program.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether a file has this content.
pub(super) fn is(path: &Path, size: u64, sha256: [u8; 32]) -> io::Result<bool> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() != size {
        return Ok(false);
    }
    Ok(file_sum::sum(file)? == (size, sha256))
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_old_program_stays_beside_the_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("lariatd");
        for (round, (before, after)) in [("one", "two"), ("two", "three")].into_iter().enumerate() {
            if round == 0 {
                fs::write(&program, before).unwrap();
            }
            fs::write(new(&program), after).unwrap();
            install(&program).unwrap();
            assert_eq!(fs::read_to_string(&program).unwrap(), after);
            assert_eq!(fs::read_to_string(directory.path().join("lariatd.old")).unwrap(), before);
            assert!(!new(&program).exists());
        }
        let sum = Sha256::digest("three").into();
        assert!(is(&program, 5, sum).unwrap() && !is(&program, 4, sum).unwrap());
        assert!(!is(&program, 5, [0; 32]).unwrap());
        assert!(!is(directory.path(), 5, sum).unwrap());
    }
}
