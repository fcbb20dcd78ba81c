//! Writing what is rebuilt, on a thread beside the one that reads the basis and hashes.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use crate::body::Body;
use lariat_wire::limits::CHUNK;
use lariat_wire::protocol::failure::{Action, Failure};

/// Chunks that wait to be written.
const AHEAD: usize = 2;

/// The thread. When this is dropped, it has ended.
pub(super) struct Writing {
    body: Arc<Body>,
    chunks: Option<SyncSender<(u64, Vec<u8>)>>,
    /// Buffers of chunks that are written.
    free: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<Result<(), Failure>>>,
}

impl Writing {
    /// Starts to write chunks where none was written before.
    pub(super) fn start(body: Arc<Body>, sparse: bool) -> Result<Self, Failure> {
        let (chunks, waiting) = sync_channel::<(u64, Vec<u8>)>(AHEAD);
        let (written, free) = channel();
        for _ in 0..AHEAD {
            // The other end is in this function.
            let _ = written.send(vec![0; CHUNK]);
        }
        let into = Arc::clone(&body);
        let work = move || {
            for (index, bytes) in waiting {
                into.write(index, &bytes, true, sparse)?;
                // Fails only when nobody has more to write.
                let _ = written.send(bytes);
            }
            Ok(())
        };
        let thread = std::thread::Builder::new().name("write".to_owned()).spawn(work);
        let thread = thread.map_err(|error| body.failed(Action::Write)(error))?;
        Ok(Self { body, chunks: Some(chunks), free, thread: Some(thread) })
    }

    /// Hands a chunk over, and gives another buffer of [`CHUNK`] bytes for it. Waits while too many
    /// are not written yet.
    pub(super) fn write(&mut self, index: u64, bytes: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let sent = self.chunks.as_ref().is_some_and(|chunks| chunks.send((index, bytes)).is_ok());
        match self.free.recv() {
            Ok(mut free) if sent => {
                free.resize(CHUNK, 0);
                Ok(free)
            }
            // It takes no more only after a failure.
            _ => Err(self.finish().err().unwrap_or_else(|| self.died())),
        }
    }

    /// Waits until all is written.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        self.chunks = None;
        let ended = self.thread.take().map_or(Ok(Ok(())), JoinHandle::join);
        ended.unwrap_or_else(|_| Err(self.died()))
    }

    fn died(&self) -> Failure {
        self.body.failed(Action::Write)(io::Error::other("the thread that writes has died"))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        // Whoever drops it unfinished has failed already.
        let _ = self.finish();
    }
}
