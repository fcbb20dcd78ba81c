//! What is read: a file, of which it is known whether it is still the same, or a stream.

use std::cell::Cell;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::error::failed;
use super::holes::Holed;
use super::rehash;
use crate::limits::CHUNK;
use crate::protocol::failure::{Action, Cause, Failure, FileKind};
use crate::protocol::transfer::{Identity, Offer, Time};

/// Permission bits that travel: setuid, setgid and sticky do not.
const MODE: u32 = 0o777;

/// Permission bits of what came from a stream.
const STREAM_MODE: u32 = 0o644;

/// Chunks of a stream that are read ahead.
const AHEAD: usize = 2;

/// Chunks of a stream, as they are read.
type Chunks = mpsc::Receiver<io::Result<Vec<u8>>>;

/// An open regular file and what it was when it was opened, or a stream.
pub struct Source {
    file: Arc<File>,
    holed: Holed,
    stream: Cell<Option<Chunks>>,
    path: Vec<u8>,
    offer: Offer,
    /// Bits of the mode that travel.
    mask: u32,
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
        let offer = offer(&metadata, MODE);
        if is_generated(&file, metadata.len()) {
            let offer = Offer { size: None, sparse: false, ..offer };
            return Self::reading(file, name, offer).map_err(failed(Action::Read, name));
        }
        Ok(Self::with_offer(file, name.to_vec(), offer, MODE))
    }

    /// A regular file that is open already, of whose mode the bits in `mask` travel.
    pub(super) fn of(file: File, path: Vec<u8>, mask: u32) -> Result<Self, Failure> {
        let metadata = file.metadata().map_err(failed(Action::Read, &path))?;
        let offer = offer(&metadata, mask);
        Ok(Self::with_offer(file, path, offer, mask))
    }

    fn with_offer(file: File, path: Vec<u8>, offer: Offer, mask: u32) -> Self {
        let file = Arc::new(file);
        let holed = Holed::new(file.clone());
        Self { file, holed, stream: Cell::default(), path, offer, mask }
    }

    /// Reads a stream, such as stdin, to its end, on a thread of its own: it may stand still for as
    /// long as it likes.
    pub fn stream(input: impl Read + Send + 'static, now: Time) -> io::Result<Self> {
        let identity = Identity::default();
        let offer = Offer { size: None, sparse: false, mode: STREAM_MODE, mtime: now, identity };
        Self::reading(input, b"-", offer)
    }

    fn reading(
        mut input: impl Read + Send + 'static,
        path: &[u8],
        offer: Offer,
    ) -> io::Result<Self> {
        let (chunks, taken) = mpsc::channel(AHEAD);
        std::thread::Builder::new().name("stream".to_owned()).spawn(move || {
            loop {
                let mut chunk = Vec::with_capacity(CHUNK);
                let read = input.by_ref().take(CHUNK as u64).read_to_end(&mut chunk);
                let last = read.as_ref().map_or(true, |&read| read < CHUNK);
                if matches!(read, Ok(0))
                    || chunks.blocking_send(read.map(|_| chunk)).is_err()
                    || last
                {
                    return;
                }
            }
        })?;
        let file = Arc::new(File::open("/dev/null")?);
        let (stream, holed) = (Cell::new(Some(taken)), Holed::new(file.clone()));
        Ok(Self { file, holed, stream, path: path.to_vec(), offer, mask: MODE })
    }

    /// The file as the receiver is told of it.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// The chunks, if it is a stream; once.
    pub(super) fn take_stream(&self) -> Option<Chunks> {
        self.stream.take()
    }

    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Reads one chunk.
    pub(super) fn read<'a>(
        &mut self,
        index: u64,
        buffer: &'a mut [u8],
    ) -> Result<&'a [u8], Failure> {
        let size = self.offer.size.unwrap_or_default();
        let read = rehash::read_chunk(&mut self.holed, size, index, buffer);
        read.map_err(|error| self.read_error(&error))
    }

    /// Fills `buffer` from `offset` on.
    pub(super) fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), Failure> {
        let read = self.holed.read_exact_at(buffer, offset);
        read.map_err(|error| self.read_error(&error))
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
        if offer(&metadata, self.mask) == self.offer {
            Ok(())
        } else {
            Err(self.failure(Cause::SourceChanged))
        }
    }

    pub(super) fn failure(&self, cause: Cause) -> Failure {
        self.failing()(cause)
    }

    pub(super) fn failing(&self) -> impl Fn(Cause) -> Failure + use<> {
        let path = self.path.clone();
        move |cause| Failure { action: Action::Read, path: Some(path.clone()), cause }
    }
}

/// No such device or address: what opening a socket's name says.
const ENXIO: i32 = 6;

/// Whether the kernel makes the content up as it is read, so that the size says nothing of it.
fn is_generated(file: &File, size: u64) -> bool {
    const PROC: u32 = 0x9fa0;
    const SYSFS: u32 = 0x6265_6572;
    let kind = rustix::fs::fstatfs(file).map_or(0, |disk| disk.f_type);
    let kernels = u32::try_from(kind).is_ok_and(|kind| matches!(kind, PROC | SYSFS));
    kernels || size == 0 && matches!(file.read_at(&mut [0], 0), Ok(1))
}

fn offer(metadata: &Metadata, mask: u32) -> Offer {
    Offer {
        size: Some(metadata.len()),
        sparse: metadata.blocks() * 512 < metadata.len(),
        mode: metadata.mode() & mask,
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
