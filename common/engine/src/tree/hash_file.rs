//! The plain BLAKE3 of a file, for `--checksum` and `--verify`.

use std::fs::File;
use std::io::{self, Read};

use lariat_wire::protocol::transfer::Hash;

/// No content has this hash: it stands for that of a file whose content the kernel generates.
pub(super) const UNLIKE_ANY: Hash = [0; 32];

/// Hashes a file's first `len` bytes.
pub(super) fn hash_of(file: &File, len: u64) -> io::Result<Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file.take(len))?;
    Ok(hasher.finalize().into())
}
