//! Where a sender gets the chunks of a file from.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

use crate::chunk::rehash::chunk_len;
use crate::chunk::sparse::SparseReader;
use crate::chunk::sum::sum;
use crate::page_buffer::PageBuffer;
use lariat_wire::limits::CHUNK;
use lariat_wire::protocol::transfer::Sum;

/// The chunks of one source.
pub(crate) trait Chunks: Send {
    /// Reads and sums chunk `index`. The result may use `buffer`; see [`ChunkBytes::into_buffer`].
    fn chunk(&mut self, index: u64, buffer: PageBuffer) -> io::Result<SummedChunk>;

    /// Fills `buffer` with the bytes at `offset`.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// These chunks, for one more receiver.
    fn for_another(&self) -> Box<dyn Chunks>;
}

/// A chunk and its sum.
pub(crate) struct SummedChunk {
    pub(crate) bytes: ChunkBytes,
    pub(crate) sum: Sum,
}

/// The bytes of a chunk, in a buffer of the sender's own or shared with other senders.
pub(crate) enum ChunkBytes {
    /// They fill the buffer's beginning up to this length.
    Own(PageBuffer, usize),
    Shared(Arc<PageBuffer>),
}

impl ChunkBytes {
    /// A buffer for the next chunk.
    pub(crate) fn into_buffer(self) -> PageBuffer {
        match self {
            Self::Own(buffer, _) => buffer,
            Self::Shared(_) => PageBuffer::default(),
        }
    }
}

impl Deref for ChunkBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Own(buffer, len) => &buffer[..*len],
            Self::Shared(bytes) => bytes,
        }
    }
}

/// The chunks of an open file.
pub(crate) struct FileChunks {
    file: Arc<File>,
    reader: SparseReader,
    size: u64,
    seed: u64,
}

impl FileChunks {
    /// The chunks of the first `size` bytes, summed under `seed`.
    pub(crate) fn new(file: Arc<File>, size: u64, seed: u64) -> Self {
        Self { reader: SparseReader::new(Arc::clone(&file)), file, size, seed }
    }

    /// The sum of a chunk's bytes.
    pub(crate) fn sum(&self, bytes: &[u8]) -> Sum {
        sum(self.seed, bytes)
    }

    /// Reads chunk `index` into the beginning of `buffer`, which becomes as long as it must be, and returns the
    /// chunk's length.
    pub(crate) fn read(&mut self, index: u64, buffer: &mut PageBuffer) -> io::Result<usize> {
        let len = chunk_len(self.size, index);
        if buffer.len() < len {
            buffer.resize(len);
        }
        self.reader.read_exact_at(&mut buffer[..len], index * CHUNK as u64)?;
        Ok(len)
    }

    /// These chunks, with a reader of their own.
    pub(crate) fn another(&self) -> Self {
        Self::new(Arc::clone(&self.file), self.size, self.seed)
    }
}

impl Chunks for FileChunks {
    fn chunk(&mut self, index: u64, mut buffer: PageBuffer) -> io::Result<SummedChunk> {
        let len = self.read(index, &mut buffer)?;
        let sum = self.sum(&buffer[..len]);
        Ok(SummedChunk { bytes: ChunkBytes::Own(buffer, len), sum })
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.reader.read_exact_at(buffer, offset)
    }

    fn for_another(&self) -> Box<dyn Chunks> {
        Box::new(self.another())
    }
}
