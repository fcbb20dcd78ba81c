//! The plain BLAKE3 of a file, for `--checksum`.

use std::fs::File;
use std::io::{self, Read};

use lariat_wire::protocol::transfer::Hash;

/// Hashes a file's first `len` bytes.
pub(super) fn hash_of(file: &File, len: u64) -> io::Result<Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file.take(len))?;
    Ok(hasher.finalize().into())
}
