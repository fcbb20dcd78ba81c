//! The shared state of the connections of a file's receiver.

use std::sync::Arc;

use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::transfer::{Offer, Range};

use crate::chunk::reconcile::indices;
use crate::file::body::Body;
use crate::lanes::{Joined, Lanes, Ticket, Work};

/// A file that is received over several connections.
pub(crate) struct ReceiveFile {
    body: Arc<Body>,
    /// The destination's path, for failures.
    pub(super) path: Vec<u8>,
    pub(super) offer: Offer,
    missing: Vec<Range>,
    /// Every chunk of the file; empty until a lane joins.
    chunks: Vec<LaneChunk>,
    /// Chunks that are being written.
    writing: usize,
    /// Everything has arrived: nothing more is written.
    is_closing: bool,
    progress: LaneProgress,
    /// The failure of a lane.
    failure: Option<Failure>,
}

/// A chunk, as far as lanes are concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneChunk {
    /// It can't arrive on a lane.
    Other,
    /// It may arrive on any connection.
    Missing,
    /// It has arrived on a lane.
    Taken,
}

/// What lanes have received.
#[derive(Clone, Copy, Default)]
pub(super) struct LaneProgress {
    /// Bytes of the file.
    pub(super) moved: u64,
    /// Bytes that they took on the wire.
    pub(super) sent: u64,
    /// Chunks that had arrived before.
    pub(super) again: u64,
}

impl Work for ReceiveFile {
    fn enter(&mut self, _lane: Ticket) {
        if !self.chunks.is_empty() {
            return;
        }
        // A receiver's file has chunks that are counted in memory.
        self.chunks = vec![LaneChunk::Other; usize::try_from(self.offer.chunks()).unwrap_or(0)];
        for index in indices(&self.missing).filter_map(|index| usize::try_from(index).ok()) {
            if let Some(chunk) = self.chunks.get_mut(index) {
                *chunk = LaneChunk::Missing;
            }
        }
    }

    fn leave(&mut self, _lane: Ticket) {}
}

impl ReceiveFile {
    /// These chunks of a file.
    pub(super) fn new(body: Arc<Body>, path: Vec<u8>, offer: Offer, missing: Vec<Range>) -> Self {
        Self {
            body,
            path,
            offer,
            missing,
            chunks: Vec::new(),
            writing: 0,
            is_closing: false,
            progress: LaneProgress::default(),
            failure: None,
        }
    }

    /// Whether a lane has received this chunk.
    fn has(&self, index: usize) -> bool {
        self.chunks.get(index) == Some(&LaneChunk::Taken)
    }

    /// Begins to write a chunk, unless it is no longer needed.
    fn begin_write(&mut self, index: usize) -> Option<Arc<Body>> {
        if self.is_closing {
            return None;
        }
        if self.has(index) {
            self.progress.again += 1;
            return None;
        }
        self.writing += 1;
        Some(Arc::clone(&self.body))
    }

    /// Ends the write of a received chunk.
    fn end_write(&mut self, index: usize, brought: LaneProgress, written: &Result<(), Failure>) {
        self.writing -= 1;
        match (written, self.chunks.get_mut(index)) {
            (Ok(()), Some(chunk)) if *chunk != LaneChunk::Taken => {
                *chunk = LaneChunk::Taken;
                self.progress.moved += brought.moved;
                self.progress.sent += brought.sent;
            }
            (Ok(()), _) => {}
            (Err(failure), _) => self.fail(failure.clone()),
        }
    }

    /// Ends the whole transfer with a failure of this end.
    pub(super) fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }
}

impl Lanes<ReceiveFile> {
    /// What lanes have received since the last call, or the failure of one.
    pub(super) fn progress(&self) -> Result<LaneProgress, Failure> {
        let progress = self.with(|file| {
            file.failure.clone().map_or_else(|| Ok(std::mem::take(&mut file.progress)), Err)
        });
        progress.unwrap_or_else(|| Ok(LaneProgress::default()))
    }

    /// Whether a lane has received this chunk.
    pub(super) fn has(&self, index: usize) -> bool {
        self.with(|file| file.has(index)).unwrap_or_default()
    }

    /// Ends all lanes once nothing is being written any more, and returns what they have received and
    /// [`Self::progress`] has not returned.
    pub(super) async fn brought(&self) -> (Vec<LaneChunk>, Result<LaneProgress, Failure>) {
        let finish = self.finish(|file| {
            file.is_closing = true;
            if file.writing > 0 {
                return None;
            }
            let rest = file.failure.take().map_or(Ok(file.progress), Err);
            Some((std::mem::take(&mut file.chunks), rest))
        });
        finish.await.unwrap_or_else(|| (Vec::new(), Ok(LaneProgress::default())))
    }
}

impl Joined<ReceiveFile> {
    /// Whether this chunk may arrive on a lane.
    pub(super) fn may_come(&self, index: usize) -> bool {
        let may_come = |file: &mut ReceiveFile, _| {
            file.chunks.get(index).is_some_and(|&chunk| chunk != LaneChunk::Other)
        };
        // Chunks that arrive after the end of the transfer are dropped.
        self.with(may_come).unwrap_or(true)
    }

    /// Writes a verified chunk that took `body` bytes on the wire, unless it has arrived on another lane. A
    /// failure fails the whole transfer.
    pub(super) fn write(
        &self,
        index: usize,
        bytes: &[u8],
        body: u64,
        sparse: bool,
    ) -> Result<(), Failure> {
        let Some(Some(into)) = self.with(|file, _| file.begin_write(index)) else { return Ok(()) };
        // Without the lock: other connections write at the same time.
        let written = into.write(index as u64, bytes, true, sparse);
        drop(into);
        let brought = LaneProgress { moved: bytes.len() as u64, sent: body, again: 0 };
        self.with(|file, _| file.end_write(index, brought, &written));
        self.announce();
        written
    }
}
