//! Sending a file to a receiver that has one like it: copies from its basis, and literals.
//!
//! Both ends cut by content at the same time; when the receiver's list is whole, the plan is made and
//! told. What the receiver rebuilds from it is compared chunk by chunk afterwards.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::Heard;
use super::sending::Sender;
use crate::limits::CHUNK;
use crate::protocol::transfer::{Basis, Copies, Copy, LiteralHead, MAX_COPIES, PIECE_LEN, Range};
use crate::transfer::delta::{Cutter, Gaps, Index, Op, Params, Piece, Planner, Seed};
use crate::transfer::error::TransferError;
use crate::transfer::reconcile::missing;

/// Pieces that are handed over together.
const BATCH: usize = 1024;

/// Both files' pieces.
pub(super) struct Plan {
    index: Index,
    source: Vec<Piece>,
}

impl<S: AsyncRead + AsyncWrite> Sender<'_, S> {
    /// Cuts the source, while the receiver's pieces come.
    pub(super) async fn plan(
        &mut self,
        basis: Basis,
        heard: &mut mpsc::UnboundedReceiver<Heard>,
    ) -> Result<Plan, TransferError> {
        let bad = |_| TransferError::misbehaved("its basis is cut in a way that can't be");
        let params = Params::from_average_log2(basis.average_log2);
        let params = params.ok_or(TransferError::misbehaved("its basis has pieces of no size"))?;
        let mut index = Index::new(params, basis.size).map_err(bad)?;
        let mut cut = self.cut(params, Seed(basis.seed))?;
        let mut source = Vec::new();
        let mut cutting = true;
        while cutting || index.covered() < basis.size {
            tokio::select! {
                pieces = cut.recv(), if cutting => match pieces {
                    Some(pieces) => source.extend(pieces.map_err(|e| self.source.read_error(&e))?),
                    None => cutting = false,
                },
                Some(said) = heard.recv() => match said {
                    Heard::Pieces(bytes) => index.add(&decode(&bytes)).map_err(bad)?,
                    Heard::Hashes(hashes) => self.early.push(hashes),
                },
                error = self.writer.drive() => return Err(error.into()),
            }
        }
        Ok(Plan { index, source })
    }

    /// Tells the receiver how to rebuild the chunks that it does not have.
    pub(super) async fn tell(&mut self, plan: &Plan, have: &[Range]) -> Result<(), TransferError> {
        let Plan { index, source } = plan;
        let offer = self.source.offer();
        let size = offer.size.unwrap_or_default();
        let mut gaps = Gaps::new(&missing(have, offer.chunks()), size);
        let mut planner = Planner::default();
        let mut copies = Vec::new();
        let (mut runs, mut clipped) = (Vec::new(), Vec::new());
        let mut offset = 0;
        self.buffer.resize(CHUNK, 0);
        for &piece in source {
            planner.piece(index, piece, &mut runs);
            for run in runs.drain(..) {
                gaps.clip(offset, run, &mut clipped);
                offset += u64::from(run.length());
            }
            self.runs(&mut clipped, &mut copies).await?;
        }
        if let Some(run) = planner.finish() {
            gaps.clip(offset, run, &mut clipped);
        }
        self.runs(&mut clipped, &mut copies).await?;
        self.copies(&mut copies)
    }

    async fn runs(
        &mut self,
        runs: &mut Vec<(u64, Op)>,
        copies: &mut Vec<Copy>,
    ) -> Result<(), TransferError> {
        for (offset, run) in runs.drain(..) {
            match run {
                Op::Copy { from, len } => {
                    copies.push(Copy { from, len });
                    self.reused(u64::from(len));
                    if copies.len() == MAX_COPIES {
                        self.copies(copies)?;
                        self.writer.flush().await?;
                    }
                }
                Op::Literal { len } => {
                    self.copies(copies)?;
                    let mut buffer = std::mem::take(&mut self.buffer);
                    let bytes = &mut buffer[..len as usize];
                    self.source.read_at(offset, bytes)?;
                    let head =
                        |encoding| LiteralHead { len, encoding: encoding as u8 }.encode().to_vec();
                    self.literal(bytes, head).await?;
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

    /// Cuts the source on a thread beside this one.
    fn cut(
        &self,
        params: Params,
        seed: Seed,
    ) -> Result<mpsc::Receiver<io::Result<Vec<Piece>>>, TransferError> {
        let size = self.source.offer().size.unwrap_or_default();
        let cutter = Cutter::new(self.source.file().clone(), size, params, seed);
        cut(cutter).map_err(|error| self.source.read_error(&error).into())
    }
}

/// Runs a cutter on a thread of its own; it ends early when the receiver is dropped.
pub(in crate::transfer) fn cut(
    mut cutter: Cutter,
) -> io::Result<mpsc::Receiver<io::Result<Vec<Piece>>>> {
    let (batches, taken) = mpsc::channel(4);
    std::thread::Builder::new().name("cut".to_owned()).spawn(move || {
        loop {
            let batch: io::Result<Vec<Piece>> = cutter.by_ref().take(BATCH).collect();
            let last = batch.as_ref().map_or(true, |batch| batch.len() < BATCH);
            if batches.blocking_send(batch).is_err() || last {
                return;
            }
        }
    })?;
    Ok(taken)
}

fn decode(bytes: &[u8]) -> Vec<Piece> {
    let (pieces, _) = bytes.as_chunks::<PIECE_LEN>();
    let piece = |[hash @ .., a, b, c, d]: &[u8; PIECE_LEN]| Piece {
        hash: *hash,
        len: u32::from_le_bytes([*a, *b, *c, *d]),
    };
    pieces.iter().map(piece).collect()
}

/// The wire's bytes of a piece.
pub(in crate::transfer) fn encode(piece: &Piece) -> [u8; PIECE_LEN] {
    let mut bytes = [0; PIECE_LEN];
    bytes[..16].copy_from_slice(&piece.hash);
    bytes[16..].copy_from_slice(&piece.len.to_le_bytes());
    bytes
}
