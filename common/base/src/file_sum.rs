//! The SHA-256 of a file.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// Bytes that are read at a time.
const PIECE: usize = 64 * 1024;

/// The length and the SHA-256 of what is left to be read.
pub fn sum(mut file: impl Read) -> io::Result<(u64, [u8; 32])> {
    let (mut hasher, mut len, mut buffer) = (Sha256::new(), 0, vec![0; PIECE]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((len, hasher.finalize().into())),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                len += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
