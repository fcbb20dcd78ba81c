//! The sender's work on a source that the receiver has one like, on a thread beside the session's: one
//! pass over it, in which it is cut, looked up in the basis, and hashed.

use std::fs::File;
use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::delta::{Cutter, Index, Matcher, Op, Params, Piece, Seed};
use crate::hash::Chunks;
use lariat_wire::protocol::transfer::{Basis, Hash};

/// Findings that wait to be taken.
const AHEAD: usize = 64;

/// What the thread has found out.
pub(super) enum Found {
    /// The next runs of the file.
    Runs(Vec<Op>),
    /// The hash of a chunk, by its index.
    Hash(u64, Hash),
}

/// Why the thread could not go on.
pub(super) enum Stuck {
    /// The source can't be read.
    Source(io::Error),
    /// The receiver's list of its basis is wrong.
    Basis,
}

/// The thread. It ends early when this is dropped.
pub(super) struct Planning {
    /// Bytes of the basis that the receiver has not told of.
    untold: u64,
    pieces: mpsc::UnboundedSender<Vec<Piece>>,
    found: mpsc::Receiver<Result<Found, Stuck>>,
}

impl Planning {
    /// Starts on a source of `size` bytes, and a basis of which nothing is told yet.
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
                // Fails only when nobody waits for it any more.
                let _ = work.found.blocking_send(Err(stuck));
            }
        };
        thread.spawn(work).map_err(Stuck::Source)?;
        Ok(Self { untold: basis.size, pieces, found })
    }

    /// The next pieces of the basis, as the receiver tells them.
    pub(super) fn basis(&mut self, pieces: Vec<Piece>) -> Result<(), Stuck> {
        let told = pieces.iter().map(|piece| u64::from(piece.len)).sum::<u64>();
        let untold = self.untold.checked_sub(told).filter(|_| self.untold > 0);
        self.untold = untold.ok_or(Stuck::Basis)?;
        // A thread that takes no more has said why.
        let _ = self.pieces.send(pieces);
        Ok(())
    }

    /// What comes next; nothing when all has been said.
    pub(super) async fn next(&mut self) -> Option<Result<Found, Stuck>> {
        self.found.recv().await
    }
}

/// Why the work ended before its end.
enum Ended {
    Stuck(Stuck),
    /// Nobody wants it any more.
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
                    .update(read, |index, hash| say(&self.found, Found::Hash(index, hash)))?;
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
        self.chunks.finish(|index, hash| say(&self.found, Found::Hash(index, hash)))
    }

    /// Waits for more of the basis.
    fn basis(&mut self) -> Result<(), Ended> {
        let pieces = self.pieces.blocking_recv().ok_or(Ended::Unwanted)?;
        let added = self.matcher.basis(&pieces, &mut self.ops);
        added.map_err(|_| Ended::Stuck(Stuck::Basis))
    }

    fn runs(&mut self) -> Result<(), Ended> {
        if self.ops.is_empty() {
            return Ok(());
        }
        say(&self.found, Found::Runs(std::mem::take(&mut self.ops)))
    }
}

fn say(found: &mpsc::Sender<Result<Found, Stuck>>, what: Found) -> Result<(), Ended> {
    found.blocking_send(Ok(what)).map_err(|_| Ended::Unwanted)
}
