//! A cache of chunks for one file that goes to many receivers: they need the same chunk at about the same
//! time, so it is read and summed once.
//!
//! The cache never has more than [`CAPACITY`] chunks, whatever the number of files and receivers, and no
//! receiver waits for another. For a receiver that has fallen behind, chunks are read again.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::chunks::{ChunkBytes, Chunks, FileChunks, SummedChunk};
use crate::page_buffer::PageBuffer;
use lariat_base::lock::lock;
use lariat_wire::protocol::transfer::Sum;

/// The most chunks that are cached: 16 MiB.
const CAPACITY: usize = 32;

/// The most recently read chunks of several files.
#[derive(Default)]
pub struct ChunkCache {
    cached: Mutex<Cached>,
    files: AtomicU64,
}

/// A file's number, and a chunk's index in it.
type Key = (u64, u64);

/// A chunk, once it was read.
type Slot = Arc<Mutex<Option<CachedChunk>>>;

#[derive(Default)]
struct Cached {
    slots: HashMap<Key, Slot>,
    /// The oldest first.
    order: VecDeque<Key>,
}

#[derive(Clone)]
struct CachedChunk {
    bytes: Arc<PageBuffer>,
    sum: Sum,
}

impl ChunkCache {
    fn slot(&self, key: Key) -> Slot {
        let mut cached = lock(&self.cached);
        if let Some(slot) = cached.slots.get(&key) {
            return Arc::clone(slot);
        }
        if cached.order.len() == CAPACITY
            && let Some(oldest) = cached.order.pop_front()
        {
            cached.slots.remove(&oldest);
        }
        let slot = Slot::default();
        cached.slots.insert(key, Arc::clone(&slot));
        cached.order.push_back(key);
        slot
    }
}

/// The chunks of a file by way of a cache.
pub(super) struct CachedFile {
    cache: Arc<ChunkCache>,
    number: u64,
    file: FileChunks,
}

impl CachedFile {
    /// Adds a file to the cache.
    pub(super) fn new(cache: &Arc<ChunkCache>, file: FileChunks) -> Self {
        let number = cache.files.fetch_add(1, Ordering::Relaxed);
        Self { cache: Arc::clone(cache), number, file }
    }
}

impl Chunks for CachedFile {
    fn chunk(&mut self, index: u64, _buffer: PageBuffer) -> io::Result<SummedChunk> {
        let slot = self.cache.slot((self.number, index));
        // Others that need the chunk now wait until it is read.
        let mut slot = lock(&slot);
        let chunk = if let Some(chunk) = &*slot {
            chunk.clone()
        } else {
            let mut bytes = PageBuffer::default();
            self.file.read(index, &mut bytes)?;
            let sum = self.file.sum(&bytes);
            slot.insert(CachedChunk { bytes: Arc::new(bytes), sum }).clone()
        };
        let CachedChunk { bytes, sum } = chunk;
        Ok(SummedChunk { bytes: ChunkBytes::Shared(bytes), sum })
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, buffer)
    }

    fn for_another(&self) -> Box<dyn Chunks> {
        let (cache, file) = (Arc::clone(&self.cache), self.file.another());
        Box::new(Self { cache, number: self.number, file })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::chunk::sum::sum;
    use lariat_wire::limits::CHUNK;

    #[test]
    fn a_chunk_is_read_once_as_long_as_it_is_cached() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let size = (CAPACITY as u64 + 1) * CHUNK as u64;
        let cache = Arc::new(ChunkCache::default());
        let add = || CachedFile::new(&cache, FileChunks::new(Arc::clone(&file), size, 7));
        let (mut one, mut other) = (add(), add());
        // Only now, so that their readers look for no holes.
        file.set_len(size).unwrap();
        let shared = |chunk: SummedChunk| match chunk.bytes {
            ChunkBytes::Shared(bytes) => bytes,
            ChunkBytes::Own(..) => panic!("it is not cached"),
        };
        let first = one.chunk(0, PageBuffer::default()).unwrap();
        assert_eq!(first.sum, sum(7, &vec![0; CHUNK]));
        // A second read would see the change.
        file.write_all_at(b"x", 0).unwrap();
        let again = one.for_another().chunk(0, PageBuffer::default()).unwrap();
        assert!(Arc::ptr_eq(&shared(first), &shared(again)));
        assert_eq!(other.chunk(0, PageBuffer::default()).unwrap().bytes[0], b'x');
        for index in 1..=CAPACITY as u64 {
            one.chunk(index, PageBuffer::default()).unwrap();
        }
        assert_eq!(cache.cached.lock().unwrap().slots.len(), CAPACITY);
        assert_eq!(one.chunk(0, PageBuffer::default()).unwrap().bytes[0], b'x');
        file.set_len(5).unwrap();
        assert!(one.chunk(1, PageBuffer::default()).is_err());
    }
}
