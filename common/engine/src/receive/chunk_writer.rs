//! Writes rebuilt chunks on a separate thread, while another reads the basis and hashes.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use crate::file::body::Body;
use crate::page_buffer::PageBuffer;
use lariat_wire::limits::CHUNK;
use lariat_wire::protocol::failure::{Action, Failure};

/// Chunks that wait to be written.
const AHEAD: usize = 2;

/// The thread that writes. A drop waits for its end.
pub(super) struct ChunkWriter {
    body: Arc<Body>,
    chunks: Option<SyncSender<(u64, PageBuffer)>>,
    /// Buffers of written chunks.
    free: Receiver<PageBuffer>,
    thread: Option<JoinHandle<Result<(), Failure>>>,
}

impl ChunkWriter {
    /// Starts the thread. It writes where nothing was written before.
    pub(super) fn start(body: Arc<Body>, sparse: bool) -> Result<Self, Failure> {
        let (chunks, waiting) = sync_channel::<(u64, PageBuffer)>(AHEAD);
        let (written, free) = channel();
        for _ in 0..AHEAD {
            // Can't fail: the receiver lives in this function.
            let _ = written.send(PageBuffer::new(CHUNK));
        }
        let into = Arc::clone(&body);
        let work = move || {
            for (index, bytes) in waiting {
                into.write(index, &bytes, true, sparse)?;
                // Fails only when no chunk follows.
                let _ = written.send(bytes);
            }
            Ok(())
        };
        let thread = std::thread::Builder::new().name("write".to_owned()).spawn(work);
        let thread = thread.map_err(|error| body.failed(Action::Write)(error))?;
        Ok(Self { body, chunks: Some(chunks), free, thread: Some(thread) })
    }

    /// Hands a chunk over, and returns a free buffer of [`CHUNK`] bytes. Waits while too many chunks are
    /// pending.
    pub(super) fn write(&mut self, index: u64, bytes: PageBuffer) -> Result<PageBuffer, Failure> {
        let sent = self.chunks.as_ref().is_some_and(|chunks| chunks.send((index, bytes)).is_ok());
        match self.free.recv() {
            Ok(mut free) if sent => {
                free.resize(CHUNK);
                Ok(free)
            }
            // The thread ends early only after a failure.
            _ => Err(self.finish().err().unwrap_or_else(|| self.died())),
        }
    }

    /// Waits until all chunks are written.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        self.chunks = None;
        let ended = self.thread.take().map_or(Ok(Ok(())), JoinHandle::join);
        ended.unwrap_or_else(|_| Err(self.died()))
    }

    fn died(&self) -> Failure {
        self.body.failed(Action::Write)(io::Error::other("the thread that writes has died"))
    }
}

impl Drop for ChunkWriter {
    fn drop(&mut self) {
        // An unfinished one is dropped only after another failure.
        let _ = self.finish();
    }
}
