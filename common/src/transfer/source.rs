//! The file that is read, and whether it is still the same.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use super::error::failed;
use super::rehash;
use crate::protocol::failure::{Action, Cause, Failure, FileKind};
use crate::protocol::transfer::{Identity, Offer, Time};

/// Permission bits that travel: setuid, setgid and sticky do not.
const MODE: u32 = 0o777;

/// An open regular file, and what it was when it was opened.
pub struct Source {
    file: Arc<File>,
    path: Vec<u8>,
    offer: Offer,
}

impl Source {
    /// Opens a file for reading. A link is followed, for the operator named it; anything but a
    /// regular file is refused.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let name = path.as_os_str().as_bytes();
        // Not blocking: a fifo's open would wait for its other end.
        let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
        let file = OpenOptions::new().read(true).custom_flags(nonblock).open(path);
        let file = match file {
            Err(error) if error.raw_os_error() == Some(ENXIO) => {
                return Err(not_a_file(name, FileKind::Socket));
            }
            file => file.map_err(failed(Action::Open, name))?,
        };
        let metadata = file.metadata().map_err(failed(Action::Read, name))?;
        if let Some(kind) = file_kind(&metadata) {
            return Err(not_a_file(name, kind));
        }
        Ok(Self { file: Arc::new(file), path: name.to_vec(), offer: offer(&metadata) })
    }

    /// The file as the receiver is told of it.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Reads one chunk.
    pub(super) fn read<'a>(&self, index: u64, buffer: &'a mut [u8]) -> Result<&'a [u8], Failure> {
        rehash::read_chunk(&self.file, self.offer.size, index, buffer)
            .map_err(|e| self.read_error(&e))
    }

    pub(super) fn read_error(&self, error: &io::Error) -> Failure {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return self.failure(Cause::SourceShrank);
        }
        Failure::io(Action::Read, &self.path, error)
    }

    /// Fails if the file was written to since it was opened.
    pub(super) fn check_unchanged(&self) -> Result<(), Failure> {
        let metadata = self.file.metadata().map_err(failed(Action::Read, &self.path))?;
        if offer(&metadata) == self.offer {
            Ok(())
        } else {
            Err(self.failure(Cause::SourceChanged))
        }
    }

    pub(super) fn failure(&self, cause: Cause) -> Failure {
        Failure { action: Action::Read, path: Some(self.path.clone()), cause }
    }
}

/// No such device or address: what opening a socket's name says.
const ENXIO: i32 = 6;

fn offer(metadata: &Metadata) -> Offer {
    Offer {
        size: metadata.len(),
        mode: metadata.mode() & MODE,
        mtime: time(metadata.mtime(), metadata.mtime_nsec()),
        identity: Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            ctime: time(metadata.ctime(), metadata.ctime_nsec()),
        },
    }
}

fn time(secs: i64, nanos: i64) -> Time {
    Time { secs, nanos: u32::try_from(nanos).unwrap_or_default() }
}

/// What a path is when it is not a regular file.
pub(super) fn file_kind(metadata: &Metadata) -> Option<FileKind> {
    let kind = metadata.file_type();
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some(FileKind::Folder)
    } else if kind.is_fifo() {
        Some(FileKind::Fifo)
    } else if kind.is_socket() {
        Some(FileKind::Socket)
    } else if kind.is_symlink() {
        Some(FileKind::Symlink)
    } else {
        Some(FileKind::Device)
    }
}

pub(super) fn not_a_file(path: &[u8], kind: FileKind) -> Failure {
    Failure { action: Action::Open, path: Some(path.to_vec()), cause: Cause::NotAFile(kind) }
}
