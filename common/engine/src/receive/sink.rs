//! Where received bytes go: into a partial, or down a stream such as stdout.

use std::io::{self, Write};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::unfinished::Opened;
use lariat_wire::protocol::failure::{Action, Failure};
use lariat_wire::protocol::transfer::{Basis, Have, Range};

/// Chunks that wait for a slow stream.
const AHEAD: usize = 4;

/// The receiver's end of a transfer.
pub enum Target {
    /// A file that appears complete.
    File(Box<Opened>),
    /// Bytes in order, as they come.
    Stream(Stream),
}

/// A stream, written on a thread of its own so that a slow reader holds up nothing else.
pub struct Stream {
    chunks: mpsc::Sender<Vec<u8>>,
    done: oneshot::Receiver<io::Result<()>>,
}

impl Stream {
    /// Starts to write to `out`.
    pub fn new(mut out: impl Write + Send + 'static) -> io::Result<Self> {
        let (chunks, mut taken) = mpsc::channel::<Vec<u8>>(AHEAD);
        let (tell, done) = oneshot::channel();
        std::thread::Builder::new().name("stream".to_owned()).spawn(move || {
            let mut written = Ok(());
            while let (Ok(()), Some(chunk)) = (&written, taken.blocking_recv()) {
                written = out.write_all(&chunk);
            }
            // Fails only when nobody waits for it any more.
            let _ = tell.send(written.and_then(|()| out.flush()));
        })?;
        Ok(Self { chunks, done })
    }

    /// Hands a chunk over, when there is room. A stream that has failed is told of at its end.
    pub(super) async fn write(&self, chunk: Vec<u8>) -> bool {
        self.chunks.send(chunk).await.is_ok()
    }

    /// Whether it takes no more, because writing has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.chunks.is_closed()
    }

    /// Waits until everything is written.
    pub(super) async fn finish(self) -> Result<(), Failure> {
        drop(self.chunks);
        let written = self.done.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()));
        written.map_err(|error| Failure::io(Action::Write, b"-", &error))
    }
}

impl Target {
    /// What is there already, as the sender is told.
    pub(super) fn have(&self) -> Have {
        match self {
            Self::File(opened) => {
                let basis = opened.basis.as_ref().map(|basis| Basis {
                    size: basis.size,
                    average_log2: basis.params.average_log2(),
                    seed: basis.seed.0,
                });
                Have { chunks: opened.have.clone(), begun: opened.begun, basis }
            }
            Self::Stream(_) => Have::default(),
        }
    }

    /// The chunks that a broken attempt left, and the file that they are in.
    pub(super) fn left(&self) -> Option<(Arc<std::fs::File>, Vec<Range>)> {
        match self {
            Self::File(opened) => {
                Some((Arc::clone(&opened.partial.body().file), opened.have.clone()))
            }
            Self::Stream(_) => None,
        }
    }

    /// Its path, as messages have it.
    pub(super) fn path(&self) -> Vec<u8> {
        match self {
            Self::File(opened) => opened.partial.path().into_os_string().into_encoded_bytes(),
            Self::Stream(_) => b"-".to_vec(),
        }
    }
}
