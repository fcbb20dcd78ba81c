//! Sends a file to a receiver that has a similar one: copies from its basis, and literals.
//!
//! Both ends cut by content at the same time. When the receiver's list of pieces is complete, it is sent the
//! copies and literals that rebuild the file. The hashes of the rebuilt chunks are compared afterwards.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::delta_thread::{DeltaThread, Found, Stuck};
use super::receiver_message::ReceiverMessage;
use super::sender::Sender;
use crate::chunk::reconcile::{Reconcile, missing};
use crate::delta::{Gaps, Op, Params, Piece};
use crate::error::TransferError;
use lariat_wire::limits::CHUNK;
use lariat_wire::protocol::failure::Cause;
use lariat_wire::protocol::transfer::{Basis, Copies, Copy, MAX_COPIES, Offer, PIECE_LEN, Range};

/// What the receiver has been sent so far.
struct Progress {
    gaps: Gaps,
    offset: u64,
    parts: Vec<(u64, Op)>,
    copies: Vec<Copy>,
}

impl Progress {
    fn new(offer: &Offer, have: &[Range]) -> Self {
        let size = offer.size.unwrap_or_default();
        let gaps = Gaps::new(&missing(have, offer.chunks()), size);
        Self { gaps, offset: 0, parts: Vec::new(), copies: Vec::new() }
    }

    fn clip(&mut self, runs: Vec<Op>) {
        for run in runs {
            self.gaps.clip(self.offset, run, &mut self.parts);
            self.offset += u64::from(run.length());
        }
    }
}

impl<S: AsyncRead + AsyncWrite> Sender<'_, S> {
    /// Sends the copies and literals of the chunks that the receiver does not have. Afterwards `reconcile` has
    /// all hashes of this end.
    pub(super) async fn delta(
        &mut self,
        basis: Basis,
        have: &[Range],
        received: &mut mpsc::UnboundedReceiver<ReceiverMessage>,
        reconcile: &mut Reconcile,
    ) -> Result<(), TransferError> {
        let params = Params::from_average_log2(basis.average_log2);
        let params = params.ok_or(TransferError::misbehaved("its basis has pieces of no size"))?;
        let size = self.source.offer().size.unwrap_or_default();
        let file = self.source.file().clone();
        let thread = DeltaThread::start(file, size, params, basis);
        let mut thread = thread.map_err(|why| self.stuck(why))?;
        let mut progress = Progress::new(self.source.offer(), have);
        self.buffer.resize(CHUNK);
        loop {
            tokio::select! {
                found = thread.next() => match found {
                    Some(Ok(Found::Runs(runs))) => {
                        progress.clip(runs);
                        self.parts(&mut progress).await?;
                    }
                    Some(Ok(Found::Hash(index, hash))) => {
                        self.set_hash(index, hash);
                        reconcile.ours(index, hash);
                    }
                    Some(Err(why)) => return Err(self.stuck(why)),
                    None => break,
                },
                Some(message) = received.recv() => match message {
                    ReceiverMessage::Pieces(bytes) => {
                        thread.basis(decode(&bytes)).map_err(|why| self.stuck(why))?;
                    }
                    ReceiverMessage::Hashes(hashes) => reconcile.add_theirs(hashes)?,
                },
                error = self.writer.drive() => return Err(error.into()),
            }
        }
        if progress.offset != size {
            return Err(self.source.failure(Cause::Internal).into());
        }
        self.copies(&mut progress.copies)
    }

    fn stuck(&self, why: Stuck) -> TransferError {
        match why {
            Stuck::Source(error) => self.source.read_error(&error).into(),
            Stuck::Basis => TransferError::misbehaved("its basis is cut in a way that can't be"),
        }
    }

    async fn parts(&mut self, progress: &mut Progress) -> Result<(), TransferError> {
        for (offset, run) in progress.parts.drain(..) {
            match run {
                Op::Copy { from, len } => {
                    progress.copies.push(Copy { from, len });
                    self.reused(u64::from(len));
                    if progress.copies.len() == MAX_COPIES {
                        self.copies(&mut progress.copies)?;
                        self.writer.flush().await?;
                    }
                }
                Op::Literal { len } => {
                    self.copies(&mut progress.copies)?;
                    let mut buffer = std::mem::take(&mut self.buffer);
                    let bytes = &mut buffer[..len as usize];
                    self.source.read_at(offset, bytes)?;
                    self.literal(bytes).await?;
                    self.buffer = buffer;
                }
            }
        }
        Ok(())
    }

    fn copies(&mut self, copies: &mut Vec<Copy>) -> Result<(), TransferError> {
        if !copies.is_empty() {
            self.writer.outbox().post(&Copies { copies: std::mem::take(copies) })?;
        }
        Ok(())
    }
}

fn decode(bytes: &[u8]) -> Vec<Piece> {
    let (pieces, _) = bytes.as_chunks::<PIECE_LEN>();
    let piece = |[hash @ .., a, b, c, d]: &[u8; PIECE_LEN]| Piece {
        hash: *hash,
        len: u32::from_le_bytes([*a, *b, *c, *d]),
    };
    pieces.iter().map(piece).collect()
}
