//! What a receiver is offered: size, metadata and identity of an open file or a stream.

use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::fs::Stat;
use rustix::io::Errno;

use super::generated;
use crate::metadata::attributes::mtime;
use crate::metadata::owners::{self, OwnerNames};
use crate::metadata::{Namespaces, acl, xattrs};
use lariat_wire::protocol::metadata::Time;
use lariat_wire::protocol::metadata::{Metadata, Preserve};
use lariat_wire::protocol::transfer::{Identity, Offer};

/// Permission bits of what came from a stream.
pub(super) const STREAM_MODE: u32 = 0o644;

/// The offer of an open file with this `stat`.
pub(super) fn of_file(
    file: &File,
    stat: &Stat,
    preserve: Preserve,
    spaces: Namespaces,
) -> Result<Offer, Errno> {
    let mut owners = OwnerNames::default();
    let mut metadata = owners::describe(stat, preserve, &mut owners);
    owners.add_acls(acl::describe(file, stat, preserve.acls)?, &mut metadata);
    if preserve.xattrs {
        metadata.xattrs = xattrs::read(file, spaces)?;
    }
    let (size, sparse, _, identity) = state(stat);
    Ok(Offer { size, sparse, metadata, identity, seed: rand::random() })
}

/// The part of an offer that shows whether a file has changed; see [`Offer::state`].
pub(super) fn state(stat: &Stat) -> (Option<u64>, bool, Time, Identity) {
    let identity = Identity {
        device: stat.st_dev,
        inode: stat.st_ino,
        ctime: Time {
            secs: stat.st_ctime,
            nanos: u32::try_from(stat.st_ctime_nsec).unwrap_or_default(),
        },
    };
    let size = u64::try_from(stat.st_size).unwrap_or_default();
    let sparse = stat.st_blocks.saturating_mul(512) < stat.st_size;
    (Some(size), sparse, mtime(stat), identity)
}

/// The metadata of a stream.
pub(crate) fn of_stream(now: Time) -> Metadata {
    Metadata { mode: STREAM_MODE, mtime: now, ..Metadata::default() }
}

/// Whether a file's size does not tell where its content ends, because the kernel generates it on each read.
pub(super) fn is_generated(file: &File, size: i64) -> bool {
    generated::is_on_kernels(file) && size < generated::LARGEST
        || size == 0 && matches!(file.read_at(&mut [0], 0), Ok(1))
}
