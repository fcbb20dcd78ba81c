//! Plans a delta on a thread of its own: one pass over the source, in which it is cut, its pieces are looked up
//! in the basis, and its chunks are hashed.

use std::fs::File;
use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::chunk::hash::Chunks;
use crate::delta::{Cutter, Index, Matcher, Op, Params, Piece, Seed};
use lariat_wire::protocol::transfer::{Basis, Hash};

/// Results that are buffered.
const AHEAD: usize = 64;

/// A result of the thread.
pub(super) enum Found {
    /// The next runs of the file.
    Runs(Vec<Op>),
    /// The hash of a chunk, by its index.
    Hash(u64, Hash),
}

/// Why the thread failed.
pub(super) enum Stuck {
    /// The source can't be read.
    Source(io::Error),
    /// The receiver's list of its basis is wrong.
    Basis,
}

/// The thread, which ends early when this is dropped.
pub(super) struct DeltaThread {
    /// Bytes of the basis in pieces that have not arrived.
    missing: u64,
    pieces: mpsc::UnboundedSender<Vec<Piece>>,
    found: mpsc::Receiver<Result<Found, Stuck>>,
}

impl DeltaThread {
    /// Starts on a source of `size` bytes, before the first piece of the basis.
    pub(super) fn start(
        source: Arc<File>,
        size: u64,
        params: Params,
        basis: Basis,
    ) -> Result<Self, Stuck> {
        let index = Index::new(params, basis.size).map_err(|_| Stuck::Basis)?;
        let (pieces, listed) = mpsc::unbounded_channel();
        let (tell, found) = mpsc::channel(AHEAD);
        let mut work = Work {
            cutter: Cutter::new(source, size, params, Seed(basis.seed)),
            matcher: Matcher::new(index),
            chunks: Chunks::default(),
            pieces: listed,
            ops: Vec::new(),
            found: tell,
        };
        let thread = std::thread::Builder::new().name("plan".to_owned());
        let work = move || {
            if let Err(Ended::Stuck(stuck)) = work.run() {
                // Fails only when the transfer is over.
                let _ = work.found.blocking_send(Err(stuck));
            }
        };
        thread.spawn(work).map_err(Stuck::Source)?;
        Ok(Self { missing: basis.size, pieces, found })
    }

    /// Adds the next pieces of the basis.
    pub(super) fn basis(&mut self, pieces: Vec<Piece>) -> Result<(), Stuck> {
        let len = pieces.iter().map(|piece| u64::from(piece.len)).sum::<u64>();
        let missing = self.missing.checked_sub(len).filter(|_| self.missing > 0);
        self.missing = missing.ok_or(Stuck::Basis)?;
        // Fails only if the thread has failed, which `next` returns.
        let _ = self.pieces.send(pieces);
        Ok(())
    }

    /// The next result, or `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Result<Found, Stuck>> {
        self.found.recv().await
    }
}

/// Why the thread ends early.
enum Ended {
    Stuck(Stuck),
    /// The transfer is over.
    Unwanted,
}

struct Work {
    cutter: Cutter,
    matcher: Matcher,
    chunks: Chunks,
    pieces: mpsc::UnboundedReceiver<Vec<Piece>>,
    ops: Vec<Op>,
    found: mpsc::Sender<Result<Found, Stuck>>,
}

impl Work {
    fn run(&mut self) -> Result<(), Ended> {
        loop {
            while self.matcher.awaits_basis() {
                self.basis()?;
            }
            let read = self.cutter.fill().map_err(|error| Ended::Stuck(Stuck::Source(error)))?;
            if !read.is_empty() {
                self.chunks
                    .update(read, |index, hash| send(&self.found, Found::Hash(index, hash)))?;
                self.runs()?;
            }
            let Some(piece) = self.cutter.cut(self.matcher.likely()) else { break };
            self.matcher.source(piece, &mut self.ops);
        }
        while !self.matcher.has_basis() {
            self.basis()?;
        }
        self.ops.extend(self.matcher.finish());
        self.runs()?;
        self.chunks.finish(|index, hash| send(&self.found, Found::Hash(index, hash)))
    }

    /// Waits for more pieces of the basis.
    fn basis(&mut self) -> Result<(), Ended> {
        let pieces = self.pieces.blocking_recv().ok_or(Ended::Unwanted)?;
        let added = self.matcher.basis(&pieces, &mut self.ops);
        added.map_err(|_| Ended::Stuck(Stuck::Basis))
    }

    fn runs(&mut self) -> Result<(), Ended> {
        if self.ops.is_empty() {
            return Ok(());
        }
        send(&self.found, Found::Runs(std::mem::take(&mut self.ops)))
    }
}

fn send(found: &mpsc::Sender<Result<Found, Stuck>>, what: Found) -> Result<(), Ended> {
    found.blocking_send(Ok(what)).map_err(|_| Ended::Unwanted)
}
