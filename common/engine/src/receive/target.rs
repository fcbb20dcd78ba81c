//! Where received bytes go: into a file, or to a stream such as stdout.

use std::io::{self, Write};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::lanes::ReceiveLanes;
use crate::file::unfinished::Opened;
use lariat_wire::protocol::failure::{Action, Failure};
use lariat_wire::protocol::transfer::{Basis, Have, Range};

/// Chunks that are buffered for a slow stream.
const AHEAD: usize = 4;

/// The destination of received bytes.
pub enum Target {
    /// A file, which gets its name when it is complete.
    File(Box<Opened>),
    /// A stream, in order.
    Stream(Stream),
}

/// A destination, and the connections that bring what goes there.
pub struct Receiving {
    pub(super) target: Target,
    pub(super) lanes: Option<ReceiveLanes>,
}

impl From<Target> for Receiving {
    fn from(target: Target) -> Self {
        Self { target, lanes: None }
    }
}

impl Receiving {
    /// Lets these lanes bring a part of the file.
    #[must_use]
    pub fn on_lanes(self, lanes: ReceiveLanes) -> Self {
        Self { lanes: Some(lanes), ..self }
    }
}

/// A stream, written on a thread of its own so that a slow reader blocks nothing else.
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
            // Fails only when the transfer is over.
            let _ = tell.send(written.and_then(|()| out.flush()));
        })?;
        Ok(Self { chunks, done })
    }

    /// Hands a chunk over when there is room, and returns whether the stream takes it. [`Self::finish`] returns
    /// why not.
    pub(super) async fn write(&self, chunk: Vec<u8>) -> bool {
        self.chunks.send(chunk).await.is_ok()
    }

    /// Whether a write has failed.
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
    /// The message that says what the receiver has already.
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

    /// The file, and the chunks that an earlier attempt left in it.
    pub(super) fn left(&self) -> Option<(Arc<std::fs::File>, Vec<Range>)> {
        match self {
            Self::File(opened) => Some((Arc::clone(&opened.file.body().file), opened.have.clone())),
            Self::Stream(_) => None,
        }
    }

    /// Its path, for failures.
    pub(super) fn path(&self) -> Vec<u8> {
        match self {
            Self::File(opened) => opened.file.path().into_os_string().into_encoded_bytes(),
            Self::Stream(_) => b"-".to_vec(),
        }
    }
}
