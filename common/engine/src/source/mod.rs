//! The source of a transfer: an open file with the state that it had when it was opened, or a stream.

mod chunk_cache;
mod chunks;
pub(crate) mod generated;
pub(crate) mod offer;

use std::cell::Cell;
use std::cmp::Ordering;
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use lariat_base::lock::lock;
use rustix::fs::{OFlags, fstat};
use rustix::io::Errno;
use tokio::sync::mpsc;

use crate::chunk::whole;
use crate::confined::Base;
use crate::error::{failed, sys_failed};
use crate::metadata::Namespaces;
use crate::metadata::kind::{file_kind, not_a_file};
use crate::page_buffer::PageBuffer;
use chunk_cache::CachedFile;
pub use chunk_cache::ChunkCache;
pub(crate) use chunks::SummedChunk;
use chunks::{Chunks, FileChunks};
use lariat_wire::limits::CHUNK;
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::metadata::Preserve;
use lariat_wire::protocol::metadata::Time;
use lariat_wire::protocol::transfer::{Hash, Identity, Offer};

/// Chunks of a stream that are read ahead.
const AHEAD: usize = 2;

/// The chunks of a stream as they are read.
pub(crate) type StreamChunks = mpsc::Receiver<io::Result<Vec<u8>>>;

/// An open regular file and its state when it was opened, or a stream.
pub struct Source {
    file: Arc<File>,
    chunks: Box<dyn Chunks>,
    stream: Cell<Option<StreamChunks>>,
    path: Vec<u8>,
    offer: Offer,
    /// The file's hash, once it was asked for.
    hash: Arc<Mutex<Option<Hash>>>,
}

/// How a file has changed since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SinceOpened {
    /// Not at all.
    Unchanged,
    /// It has grown, or something beside its content has changed, such as the number of its links. Only a second
    /// read shows whether the content that it had is the same.
    Touched,
}

impl Source {
    /// Opens a file for reading. A link is followed, for the operator named it; anything but a
    /// regular file is refused. `preserve` selects the metadata in the offer.
    pub fn open(path: &Path, preserve: Preserve) -> Result<Self, Failure> {
        Self::open_at(&Base::at(path), b"", preserve)
    }

    /// Opens the file that a request names.
    pub fn open_at(base: &Base, path: &[u8], preserve: Preserve) -> Result<Self, Failure> {
        let shown = base.shown(path);
        let name = shown.as_os_str().as_bytes();
        // Without NONBLOCK the open of a fifo would wait for its other end.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = base.open(path, flags).map(File::from);
        let file = file.map_err(|error| {
            // Sockets can't be opened, and neither can devices without hardware.
            let kind = match Errno::from_io_error(&error) {
                Some(Errno::NXIO) => base.open(path, OFlags::PATH).ok(),
                _ => None,
            };
            let kind = kind.and_then(|file| file_kind(&fstat(file).ok()?));
            kind.map_or_else(|| failed(Action::Open, name)(error), |kind| not_a_file(name, kind))
        })?;
        let stat = fstat(&file).map_err(sys_failed(Action::Read, name))?;
        if let Some(kind) = file_kind(&stat) {
            return Err(not_a_file(name, kind));
        }
        if base.is_confined() && stat.st_nlink > 1 {
            return Err(sys_failed(Action::Open, name)(Errno::MLINK));
        }
        let spaces = if base.is_confined() { Namespaces::User } else { Namespaces::All };
        let offer = offer::of_file(&file, &stat, preserve, spaces);
        let offer = offer.map_err(sys_failed(Action::Read, name))?;
        if offer::is_generated(&file, stat.st_size) {
            let offer = Offer { size: None, sparse: false, ..offer };
            return Self::from_stream(file, name, offer).map_err(failed(Action::Read, name));
        }
        Ok(Self::with_offer(file, name.to_vec(), offer))
    }

    /// The source of a regular file that is open already.
    pub(crate) fn from_file(
        file: File,
        path: Vec<u8>,
        preserve: Preserve,
    ) -> Result<Self, Failure> {
        let offer = Self::offer_of(&file, &path, preserve)?;
        Ok(Self::with_offer(file, path, offer))
    }

    /// The source of a regular file whose size does not tell where its content ends. It is read to its end, after
    /// the `beginning` that was read already.
    pub(crate) fn generated(
        file: File,
        beginning: Vec<u8>,
        path: &[u8],
        preserve: Preserve,
    ) -> Result<Self, Failure> {
        let offer = Self::offer_of(&file, path, preserve)?;
        let offer = Offer { size: None, sparse: false, ..offer };
        let rest = io::Cursor::new(beginning).chain(file);
        Self::from_stream(rest, path, offer).map_err(failed(Action::Read, path))
    }

    /// The source of a stream, such as stdin. A thread of its own reads it, for it may block without limit.
    pub fn stream(input: impl Read + Send + 'static, now: Time) -> io::Result<Self> {
        let (metadata, identity) = (offer::of_stream(now), Identity::default());
        Self::from_stream(
            input,
            b"-",
            Offer { size: None, sparse: false, metadata, identity, seed: rand::random() },
        )
    }

    /// The source of a stream that was spooled to a nameless file, so that it can be sent more than once.
    pub fn spooled(file: File) -> Result<Self, Failure> {
        file.set_permissions(Permissions::from_mode(offer::STREAM_MODE))
            .map_err(failed(Action::Read, b"-"))?;
        Self::from_file(file, b"-".to_vec(), Preserve::default())
    }

    fn offer_of(file: &File, path: &[u8], preserve: Preserve) -> Result<Offer, Failure> {
        let stat = fstat(file).map_err(sys_failed(Action::Read, path))?;
        offer::of_file(file, &stat, preserve, Namespaces::All)
            .map_err(sys_failed(Action::Read, path))
    }

    fn with_offer(file: File, path: Vec<u8>, offer: Offer) -> Self {
        let file = Arc::new(file);
        let chunks = FileChunks::new(Arc::clone(&file), offer.size.unwrap_or_default(), offer.seed);
        let (stream, hash) = (Cell::default(), Arc::default());
        Self { file, chunks: Box::new(chunks), stream, path, offer, hash }
    }

    fn from_stream(
        mut input: impl Read + Send + 'static,
        path: &[u8],
        offer: Offer,
    ) -> io::Result<Self> {
        let (chunks, stream) = mpsc::channel(AHEAD);
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
        let source = Self::with_offer(File::open("/dev/null")?, path.to_vec(), offer);
        source.stream.set(Some(stream));
        Ok(source)
    }

    /// The file as it is offered to the receiver.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// A second source of this file, which can be read at the same time. A stream's chunks stay with the first.
    pub(crate) fn another(&self) -> Self {
        Self {
            file: Arc::clone(&self.file),
            chunks: self.chunks.for_another(),
            stream: Cell::default(),
            path: self.path.clone(),
            offer: self.offer.clone(),
            hash: Arc::clone(&self.hash),
        }
    }

    /// The chunks of a stream. The second call returns `None`.
    pub(crate) fn take_stream(&self) -> Option<StreamChunks> {
        self.stream.take()
    }

    /// The open file.
    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Reads and hashes chunk `index`, perhaps into `buffer`.
    pub(crate) fn chunk(&mut self, index: u64, buffer: PageBuffer) -> Result<SummedChunk, Failure> {
        self.chunks.chunk(index, buffer).map_err(|error| self.read_error(&error))
    }

    /// Fills `buffer` with the bytes at `offset`.
    pub(crate) fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), Failure> {
        self.chunks.read_at(offset, buffer).map_err(|error| self.read_error(&error))
    }

    /// Work that hashes the whole file, once for all receivers of a [`CachedSource`]. It is told whether the hash
    /// is still wanted.
    pub(crate) fn whole_hash(&self) -> impl FnOnce(&dyn Fn() -> bool) -> io::Result<Hash> + use<> {
        let (file, size) = (Arc::clone(&self.file), self.offer.size.unwrap_or_default());
        let known = Arc::clone(&self.hash);
        move |is_wanted| {
            let mut known = lock(&known);
            let hash = (*known).map_or_else(|| whole::hash(file, size, is_wanted), Ok)?;
            Ok(*known.insert(hash))
        }
    }

    /// The failure of a read of this file.
    pub(crate) fn read_error(&self, error: &io::Error) -> Failure {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return self.failure(Cause::SourceShrank);
        }
        Failure::io(Action::Read, &self.path, error)
    }

    /// How the file has changed since it was opened. One that was truncated or overwritten is an error.
    pub(crate) fn since_opened(&self) -> Result<SinceOpened, Failure> {
        let stat = fstat(&*self.file).map_err(sys_failed(Action::Read, &self.path))?;
        let now = offer::state(&stat);
        if now == self.offer.state() {
            return Ok(SinceOpened::Unchanged);
        }
        let (size, _, mtime, _) = now;
        match size.cmp(&self.offer.size) {
            Ordering::Less => Err(self.failure(Cause::SourceShrank)),
            Ordering::Equal if mtime != self.offer.metadata.mtime => {
                Err(self.failure(Cause::SourceChanged))
            }
            Ordering::Equal | Ordering::Greater => Ok(SinceOpened::Touched),
        }
    }

    /// The failure to read this file, for this cause.
    pub(crate) fn failure(&self, cause: Cause) -> Failure {
        self.failing()(cause)
    }

    /// Like [`Self::failure`], without a borrow of the source.
    pub(crate) fn failing(&self) -> impl Fn(Cause) -> Failure + use<> {
        let path = self.path.clone();
        move |cause| Failure { action: Action::Read, path: Some(path.clone()), cause }
    }
}

/// A file that can be sent to any number of receivers at once, from any thread.
pub struct CachedSource(Mutex<Source>);

impl CachedSource {
    /// Adds a file to `cache`, which is shared by all files that go to the same receivers.
    pub fn new(source: Source, cache: &Arc<ChunkCache>) -> Self {
        let size = source.offer.size.unwrap_or_default();
        let file = FileChunks::new(Arc::clone(&source.file), size, source.offer.seed);
        let chunks = Box::new(CachedFile::new(cache, file));
        Self(Mutex::new(Source { chunks, ..source }))
    }

    /// The source for one receiver. Only the first one gets the chunks of a stream.
    pub fn source(&self) -> Source {
        let source = lock(&self.0);
        Source { stream: Cell::new(source.stream.take()), ..source.another() }
    }
}
