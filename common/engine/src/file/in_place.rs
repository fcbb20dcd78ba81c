//! `--inplace`: content is written straight into the existing file.
//!
//! The file keeps its inode, so it can be a mount point, or be in a directory that may not be written. There is
//! no partial: a transfer that breaks off leaves a mix of old and new content. The next one compares every chunk
//! and replaces those that differ.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::body::Body;
use super::commit::{CommitOptions, Sync};
use super::owner::Busy;
use super::private_file;
use crate::destination::Place;
use crate::error::{failed, sys_failed};
use crate::metadata::attributes::Attributes;
use lariat_wire::limits::CHUNK;
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::transfer::{Complete, Hash, Offer, Range};

/// A file that is written in place, locked against other transfers.
pub(crate) struct InPlace {
    place: Place,
    body: Arc<Body>,
}

impl InPlace {
    /// Opens the file of a place, and returns it with the chunks that may equal those of the offered file. If
    /// there is no regular file, the place is returned.
    pub(crate) fn open(
        place: Place,
        offer: &Offer,
        busy: Busy,
    ) -> Result<Result<(Self, Vec<Range>), Place>, Failure> {
        let path = place.path().into_os_string().into_encoded_bytes();
        let Some((file, readable)) =
            open(&place.directory, &place.name).map_err(sys_failed(Action::Write, &path))?
        else {
            return Ok(Err(place));
        };
        lock(&file, busy, &path)?;
        let len = file.metadata().map_err(failed(Action::Read, &path))?.len();
        let chunks = if readable { chunks_of(offer, len) } else { Vec::new() };
        let body = Arc::new(Body::over(Arc::new(file), len, path));
        Ok(Ok((Self { place, body }, chunks)))
    }

    /// The file's path.
    pub(crate) fn path(&self) -> PathBuf {
        self.place.path()
    }

    /// The file that chunks are written into.
    pub(crate) fn body(&self) -> &Arc<Body> {
        &self.body
    }

    /// Gives the file, whose content is complete, its length and its metadata, and syncs it. Returns its hash
    /// if it was read back.
    pub(crate) fn commit(
        self,
        complete: Complete,
        options: &CommitOptions,
        sync: Sync,
    ) -> Result<Option<Hash>, Failure> {
        let size = complete.size;
        let path = self.place.path().into_os_string().into_encoded_bytes();
        let file = &*self.body.file;
        if file.metadata().map_err(failed(Action::Read, &path))?.len() != size {
            file.set_len(size).map_err(failed(Action::Write, &path))?;
        }
        finish(file, &options.attributes, options.given_mode, sync, &path)?;
        self.body.read_back(complete, options)
    }
}

/// Writes a small file's content into the existing file, which is returned, if there is one.
pub(crate) fn overwrite(
    directory: impl AsFd,
    name: &[u8],
    content: &[u8],
    attributes: &Attributes,
    given_mode: bool,
    path: &[u8],
) -> Result<Option<Arc<File>>, Failure> {
    let opened = open(directory, name).map_err(sys_failed(Action::Write, path))?;
    let Some((file, _)) = opened else { return Ok(None) };
    lock(&file, Busy::Refuse, path)?;
    let written = file.write_all_at(content, 0).and_then(|()| file.set_len(content.len() as u64));
    written.map_err(failed(Action::Write, path))?;
    // A mount point is on another file system than its tree, and not synced with it.
    finish(&file, attributes, given_mode, Sync::First, path)?;
    Ok(Some(Arc::new(file)))
}

/// The chunks of the offered file that an existing file of `len` bytes may have.
fn chunks_of(offer: &Offer, len: u64) -> Vec<Range> {
    let Some(size) = offer.size.filter(|_| offer.chunks() > 1) else { return Vec::new() };
    let count = if len >= size { offer.chunks() } else { len / CHUNK as u64 };
    if count == 0 { Vec::new() } else { vec![Range { first: 0, count }] }
}

/// Opens a regular file for writing, and for reading if that is permitted. `None` if there is none.
fn open(directory: impl AsFd, name: &[u8]) -> Result<Option<(File, bool)>, Errno> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let open = |access| rustix::fs::openat(&directory, name, flags | access, Mode::empty());
    let opened = match open(OFlags::RDWR) {
        Err(Errno::ACCESS) => open(OFlags::WRONLY).map(|file| (file, false)),
        opened => opened.map(|file| (file, true)),
    };
    match opened {
        Ok((file, readable)) => {
            let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
            Ok(kind.is_file().then(|| (file.into(), readable)))
        }
        Err(Errno::NOENT | Errno::LOOP | Errno::ISDIR | Errno::NXIO) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Locks the file against other transfers.
fn lock(file: &File, busy: Busy, path: &[u8]) -> Result<(), Failure> {
    let operation = match busy {
        Busy::Wait => FlockOperation::LockExclusive,
        Busy::Refuse => FlockOperation::NonBlockingLockExclusive,
    };
    loop {
        match rustix::fs::flock(file, operation) {
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return Err(private_file::held(path)),
            // Some file systems have no locks.
            Ok(()) | Err(_) => return Ok(()),
        }
    }
}

/// Gives a file its metadata. The mode and time of another user's file stay, unless they were asked for:
/// the permission to write to a file does not include them.
fn finish(
    file: &File,
    attributes: &Attributes,
    given_mode: bool,
    sync: Sync,
    path: &[u8],
) -> Result<(), Failure> {
    const NOT_OURS: Cause = Cause::Os(Errno::PERM.raw_os_error());
    let asked = given_mode
        || attributes.uid.is_some()
        || attributes.gid.is_some()
        || attributes.are_beyond_stat();
    match attributes.apply(file, path).map(drop) {
        Err(Failure { cause: NOT_OURS, .. }) if !asked => {}
        set => set?,
    }
    match sync {
        Sync::First => file.sync_all().map_err(failed(Action::Sync, path)),
        Sync::WithTree => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lariat_wire::protocol::metadata::Metadata;
    use lariat_wire::protocol::transfer::Identity;

    #[test]
    fn all_chunks_that_may_be_the_same_are_compared() {
        const C: u64 = CHUNK as u64;
        let chunks = |size, len| {
            let (metadata, identity) = (Metadata::default(), Identity::default());
            let offer = Offer { size, sparse: false, metadata, identity, seed: 7 };
            chunks_of(&offer, len)
                .iter()
                .map(|range| (range.first, range.count))
                .collect::<Vec<_>>()
        };
        assert_eq!(chunks(Some(3 * C + 1), 3 * C), [(0, 3)]);
        assert_eq!(chunks(Some(3 * C + 1), 3 * C + 1), [(0, 4)]);
        assert_eq!(chunks(Some(3 * C + 1), 9 * C), [(0, 4)]);
        assert_eq!(chunks(Some(3 * C), C - 1), []);
        assert_eq!(chunks(Some(C), C), [], "one chunk is quicker sent");
        assert_eq!(chunks(None, 9 * C), []);
    }

    #[test]
    fn only_a_regular_file_is_written_in_place() {
        let directory = tempfile::tempdir().unwrap();
        let dir = File::open(directory.path()).unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        rustix::fs::mkfifoat(&dir, "fifo", Mode::RWXU).unwrap();
        assert!(matches!(open(&dir, b"file"), Ok(Some((_, true)))));
        for name in ["directory", "link", "fifo", "none"] {
            assert!(matches!(open(&dir, name.as_bytes()), Ok(None)), "{name}");
        }
    }
}
