//! `--verify`: reads a received file back from its disk.

use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::fs::{Advice, fadvise};

use crate::chunk::whole;
use crate::error::failed;
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::transfer::Hash;

/// Syncs a file of `size` bytes, drops it from the page cache where the kernel can, and hashes what the disk has.
/// Another hash than the sender's, if that gave one, is a failure.
pub(crate) fn verify(
    file: &Arc<File>,
    size: u64,
    expected: Option<Hash>,
    path: &[u8],
) -> Result<Hash, Failure> {
    file.sync_data().map_err(failed(Action::Sync, path))?;
    // A file system without it, such as tmpfs, has no other copy to read.
    let _ = fadvise(file, 0, None, Advice::DontNeed);
    let read = whole::hash(Arc::clone(file), size, || true);
    let mismatch =
        || Failure { action: Action::Verify, path: Some(path.to_vec()), cause: Cause::Mismatch };
    match read {
        Ok(hash) if expected.is_none_or(|expected| expected == hash) => Ok(hash),
        Ok(_) => Err(mismatch()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(mismatch()),
        Err(error) => Err(failed(Action::Verify, path)(error)),
    }
}
