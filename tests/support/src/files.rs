//! Files to send, and checks of what arrived.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A path as a command-line argument.
pub fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A path on the host `web1` as a command-line argument.
pub fn remote(path: &Path) -> String {
    format!("web1:{}", path.display())
}

/// The names in a directory, sorted.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

/// Compares two files: content, time of last modification and mode.
///
/// # Panics
/// If they differ.
pub fn assert_same(one: &Path, other: &Path) {
    let same = std::fs::read(one).unwrap() == std::fs::read(other).unwrap();
    assert!(same, "{} {}", one.display(), other.display());
    let (a, b) = (one.metadata().unwrap(), other.metadata().unwrap());
    assert_eq!((a.mtime(), a.mtime_nsec(), a.mode()), (b.mtime(), b.mtime_nsec(), b.mode()));
}

/// Writes a file of `size` incompressible bytes that depend on `seed`.
///
/// # Panics
/// If it can't be written.
pub fn random_file(path: &Path, size: u64, seed: u64) {
    use std::io::{Read, copy};
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut block = vec![0_u8; 64 * 1024];
    let mut source = std::iter::from_fn(move || {
        for word in block.chunks_exact_mut(8) {
            // xorshift64*: fast, and not compressible.
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            word.copy_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
        }
        Some(block.clone())
    });
    let mut left = size;
    let mut file = File::create(path).expect("the file can be made");
    while left > 0 {
        let block = source.next().expect("it never ends");
        left -= copy(&mut block.as_slice().take(left), &mut file).expect("the file can be written");
    }
}
