//! What is read: a file, of which it is known whether it is still the same, or a stream.

use std::cell::Cell;
use std::cmp::Ordering;
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FileType, OFlags, Stat, fstat};
use rustix::io::Errno;
use tokio::sync::mpsc;

use super::acl;
use super::attributes::{self, Owners};
use super::chunk_cache::{CachedFile, Chunk};
use super::error::{failed, sys_failed};
use super::generated;
use super::rehash;
use super::sparse::Holed;
use crate::confined::named;
use lariat_wire::limits::CHUNK;
use lariat_wire::protocol::failure::{Action, Cause, Failure, FileKind};
use lariat_wire::protocol::metadata::Time;
use lariat_wire::protocol::metadata::{Metadata, Preserve};
use lariat_wire::protocol::transfer::{Identity, Offer};

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
    /// Where its chunks are kept for others, if there are any.
    shared: Option<CachedFile>,
}

/// What became of a file since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// Nothing.
    Untouched,
    /// It has grown, or something beside its content has changed, such as the number of its names: whether the
    /// content that it had is still the same, only its bytes tell.
    Touched,
}

impl Source {
    /// Opens a file for reading. A link is followed, for the operator named it; anything but a
    /// regular file is refused. Says what of its metadata the receiver is told.
    pub fn open(path: &Path, preserve: Preserve) -> Result<Self, Failure> {
        let name = path.as_os_str().as_bytes();
        // Not blocking: a fifo's open would wait for its other end.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = named::open(path, flags).map(File::from);
        let file = match file {
            Err(error) if error.raw_os_error() == Some(ENXIO) => {
                return Err(unopenable(path, name, &error));
            }
            file => file.map_err(failed(Action::Open, name))?,
        };
        let stat = fstat(&file).map_err(sys_failed(Action::Read, name))?;
        if let Some(kind) = file_kind(&stat) {
            return Err(not_a_file(name, kind));
        }
        let offer = offer(&file, &stat, preserve).map_err(sys_failed(Action::Read, name))?;
        if is_generated(&file, stat.st_size) {
            let offer = Offer { size: None, sparse: false, ..offer };
            return Self::reading(file, name, offer).map_err(failed(Action::Read, name));
        }
        Ok(Self::with_offer(file, name.to_vec(), offer))
    }

    /// A regular file that is open already.
    pub(super) fn of(file: File, path: Vec<u8>, preserve: Preserve) -> Result<Self, Failure> {
        let offer = Self::of_offer(&file, &path, preserve)?;
        Ok(Self::with_offer(file, path, offer))
    }

    fn of_offer(file: &File, path: &[u8], preserve: Preserve) -> Result<Offer, Failure> {
        let stat = fstat(file).map_err(sys_failed(Action::Read, path))?;
        offer(file, &stat, preserve).map_err(sys_failed(Action::Read, path))
    }

    fn with_offer(file: File, path: Vec<u8>, offer: Offer) -> Self {
        let file = Arc::new(file);
        let holed = Holed::new(file.clone());
        Self { file, holed, stream: Cell::default(), path, offer, shared: None }
    }

    /// A regular file whose size says nothing of its content, which is read to its end. `beginning` was read
    /// of it already.
    pub(super) fn generated(
        file: File,
        beginning: Vec<u8>,
        path: &[u8],
        preserve: Preserve,
    ) -> Result<Self, Failure> {
        let failed = failed(Action::Read, path);
        let offer = Self::of_offer(&file, path, preserve)?;
        let offer = Offer { size: None, sparse: false, ..offer };
        let rest = io::Cursor::new(beginning).chain(file);
        Self::reading(rest, path, offer).map_err(failed)
    }

    /// Reads a stream, such as stdin, to its end, on a thread of its own: it may stand still for as
    /// long as it likes.
    pub fn stream(input: impl Read + Send + 'static, now: Time) -> io::Result<Self> {
        let identity = Identity::default();
        let offer = Offer { size: None, sparse: false, metadata: of_stream(now), identity };
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
        Ok(Self { file, holed, stream, path: path.to_vec(), offer, shared: None })
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

    /// A stream that was kept in a file without a name, to be sent more than once.
    pub fn kept(file: File) -> Result<Self, Failure> {
        file.set_permissions(Permissions::from_mode(STREAM_MODE))
            .map_err(failed(Action::Read, b"-"))?;
        Self::of(file, b"-".to_vec(), Preserve::default())
    }

    /// The same file, whose chunks are also kept for others.
    pub(super) fn on(self, shared: CachedFile) -> Self {
        Self { shared: Some(shared), ..self }
    }

    /// The same file once more. A stream's chunks are this one's from now on.
    pub(super) fn another(&self) -> Self {
        Self {
            file: Arc::clone(&self.file),
            holed: Holed::new(self.file.clone()),
            stream: Cell::new(self.stream.take()),
            path: self.path.clone(),
            offer: self.offer.clone(),
            shared: self.shared.clone(),
        }
    }

    /// One chunk, if it is kept for others too.
    pub(super) fn shared(&mut self, index: u64) -> Result<Option<Arc<Chunk>>, Failure> {
        let Some(shared) = &self.shared else { return Ok(None) };
        let size = self.offer.size.unwrap_or_default();
        let chunk = shared.chunk(&mut self.holed, size, index);
        chunk.map(Some).map_err(|error| self.read_error(&error))
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

    /// What became of the file since it was opened. One that was cut or written over is an error.
    pub(super) fn since_opened(&self) -> Result<Since, Failure> {
        let stat = fstat(&*self.file).map_err(sys_failed(Action::Read, &self.path))?;
        let (size, sparse, mtime, identity) = state(&stat);
        let now = (size, sparse, mtime, identity);
        if now == self.offer.state() {
            return Ok(Since::Untouched);
        }
        match size.cmp(&self.offer.size) {
            Ordering::Less => Err(self.failure(Cause::SourceShrank)),
            Ordering::Equal if mtime != self.offer.metadata.mtime => {
                Err(self.failure(Cause::SourceChanged))
            }
            Ordering::Equal | Ordering::Greater => Ok(Since::Touched),
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

/// No such device or address: what opening a socket's name says, or that of a device that is not there.
const ENXIO: i32 = 6;

/// Says what a name is that can't be opened because of what it is.
fn unopenable(path: &Path, name: &[u8], error: &io::Error) -> Failure {
    let kind = rustix::fs::stat(path).ok().and_then(|stat| file_kind(&stat));
    kind.map_or_else(|| Failure::io(Action::Open, name, error), |kind| not_a_file(name, kind))
}

/// Whether the content is not to be had by the size: the kernel makes it up as it is read.
fn is_generated(file: &File, size: i64) -> bool {
    generated::is_on_kernels(file) && size < generated::LARGEST
        || size == 0 && matches!(file.read_at(&mut [0], 0), Ok(1))
}

fn offer(file: &File, stat: &Stat, preserve: Preserve) -> Result<Offer, Errno> {
    let mut owners = Owners::default();
    let mut metadata = attributes::describe(stat, preserve, &mut owners);
    owners.tell_acls(acl::describe(file, stat, preserve.acls)?, &mut metadata);
    if preserve.xattrs {
        metadata.xattrs = attributes::read_xattrs(file)?;
    }
    let (size, sparse, _, identity) = state(stat);
    Ok(Offer { size, sparse, metadata, identity })
}

/// What the state of an open file is in an offer: see [`Offer::state`].
fn state(stat: &Stat) -> (Option<u64>, bool, Time, Identity) {
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
    (Some(size), sparse, attributes::mtime(stat), identity)
}

/// What a stream is beyond its content.
pub(super) fn of_stream(now: Time) -> Metadata {
    Metadata { mode: STREAM_MODE, mtime: now, ..Metadata::default() }
}

/// What a name is when it is not a regular file.
pub(super) fn file_kind(stat: &Stat) -> Option<FileKind> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => None,
        FileType::Directory => Some(FileKind::Directory),
        FileType::Fifo => Some(FileKind::Fifo),
        FileType::Socket => Some(FileKind::Socket),
        FileType::Symlink => Some(FileKind::Symlink),
        _ => Some(FileKind::Device),
    }
}

pub(super) fn not_a_file(path: &[u8], kind: FileKind) -> Failure {
    Failure { action: Action::Open, path: Some(path.to_vec()), cause: Cause::NotAFile(kind) }
}
