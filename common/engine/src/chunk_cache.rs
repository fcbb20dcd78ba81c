//! One file for many receivers: what one of them is sent, the others need at about the same time, so it
//! is read and hashed once for all of them.
//!
//! Invariant: no more than [`KEPT`] chunks are kept, whatever the number of files and receivers. Nobody
//! waits for anybody: a receiver that has fallen behind has its chunks read again.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::source::Source;
use super::sparse::Holed;
use super::{hash, rehash};
use lariat_wire::protocol::transfer::Hash;

/// Chunks that are kept: 16 MiB.
const KEPT: usize = 32;

/// The chunks of several files that were read last.
#[derive(Default)]
pub struct ChunkCache {
    kept: Mutex<Kept>,
    files: AtomicU64,
}

/// A file's number, and a chunk's index in it.
type Place = (u64, u64);

/// A chunk, once it was read.
type Slot = Arc<Mutex<Option<Arc<Chunk>>>>;

#[derive(Default)]
struct Kept {
    slots: HashMap<Place, Slot>,
    /// The oldest first.
    order: VecDeque<Place>,
}

/// A chunk that was read.
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    pub(super) hash: Hash,
    /// What the file's hash is if it has no other chunk; only the first one has it.
    pub(super) only: Option<Hash>,
}

/// A file on a shelf. Clones are the same one.
#[derive(Clone)]
pub(super) struct CachedFile {
    shelf: Arc<ChunkCache>,
    number: u64,
}

/// A file that can be sent to any number of receivers at once, from any thread.
pub struct CachedSource(Mutex<Source>);

impl CachedSource {
    /// Shares a file; `shelf` is for all that goes to the same receivers.
    pub fn new(source: Source, shelf: &Arc<ChunkCache>) -> Self {
        let number = shelf.files.fetch_add(1, Ordering::Relaxed);
        Self(Mutex::new(source.on(CachedFile { shelf: Arc::clone(shelf), number })))
    }

    /// The source of one receiver. A stream has only one.
    pub fn source(&self) -> Source {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).another()
    }
}

impl CachedFile {
    /// A chunk of the file, of which this is the size in bytes.
    pub(super) fn chunk(&self, file: &mut Holed, size: u64, index: u64) -> io::Result<Arc<Chunk>> {
        let slot = self.shelf.slot((self.number, index));
        // Others that need it now wait for the one who reads it.
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chunk) = &*slot {
            return Ok(Arc::clone(chunk));
        }
        let mut bytes = vec![0; rehash::chunk_len(size, index)];
        rehash::read_chunk(file, size, index, &mut bytes)?;
        let (hash, only) = hash::of(index, &bytes);
        Ok(Arc::clone(slot.insert(Arc::new(Chunk { bytes, hash, only }))))
    }
}

impl ChunkCache {
    fn slot(&self, place: Place) -> Slot {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = kept.slots.get(&place) {
            return Arc::clone(slot);
        }
        if kept.order.len() == KEPT
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.slots.remove(&oldest);
        }
        let slot = Slot::default();
        kept.slots.insert(place, Arc::clone(&slot));
        kept.order.push_back(place);
        slot
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use lariat_wire::limits::CHUNK;

    #[test]
    fn a_chunk_is_read_once_as_long_as_it_is_kept() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let holed = &mut Holed::new(Arc::clone(&file));
        let size = (KEPT as u64 + 1) * CHUNK as u64;
        file.set_len(size).unwrap();
        let shelf = Arc::new(ChunkCache::default());
        let [one, other] = [0, 1].map(|number| CachedFile { shelf: Arc::clone(&shelf), number });
        let first = one.chunk(holed, size, 0).unwrap();
        assert_eq!((first.hash, first.only), {
            let (hash, only) = hash::first_chunk(&vec![0; CHUNK]);
            (hash, Some(only))
        });
        // Whether it is read again shows when it has changed.
        file.write_all_at(b"x", 0).unwrap();
        assert!(Arc::ptr_eq(&first, &one.chunk(holed, size, 0).unwrap()));
        assert_eq!(other.chunk(holed, size, 0).unwrap().bytes[0], b'x');
        for index in 1..=KEPT as u64 {
            one.chunk(holed, size, index).unwrap();
        }
        assert_eq!(shelf.kept.lock().unwrap().slots.len(), KEPT);
        assert_eq!(one.chunk(holed, size, 0).unwrap().bytes[0], b'x');
        assert!(one.chunk(holed, size * 2, KEPT as u64 + 1).is_err());
    }
}
