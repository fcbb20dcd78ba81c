//! Sending a file to a receiver that has one like it: copies from its basis, and literals.
//!
//! Both ends cut by content at the same time; when the receiver's list is whole, it is told how to
//! rebuild the file. What it makes of that is compared chunk by chunk afterwards.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::Heard;
use super::planning::{Found, Planning, Stuck};
use super::sending::Sender;
use crate::delta::{Gaps, Op, Params, Piece};
use crate::error::TransferError;
use crate::reconcile::{Reconcile, missing};
use lariat_wire::limits::CHUNK;
use lariat_wire::protocol::failure::Cause;
use lariat_wire::protocol::transfer::{
    Basis, Copies, Copy, LiteralHead, MAX_COPIES, Offer, PIECE_LEN, Range,
};

/// How far the receiver has been told.
struct Telling {
    gaps: Gaps,
    offset: u64,
    parts: Vec<(u64, Op)>,
    copies: Vec<Copy>,
}

impl Telling {
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
    /// Tells the receiver how to rebuild the chunks that it does not have. When this is over, all of
    /// this end's hashes are in `reconcile`.
    pub(super) async fn delta(
        &mut self,
        basis: Basis,
        have: &[Range],
        heard: &mut mpsc::UnboundedReceiver<Heard>,
        reconcile: &mut Reconcile,
    ) -> Result<(), TransferError> {
        let params = Params::from_average_log2(basis.average_log2);
        let params = params.ok_or(TransferError::misbehaved("its basis has pieces of no size"))?;
        let size = self.source.offer().size.unwrap_or_default();
        let file = self.source.file().clone();
        let planning = Planning::start(file, size, params, basis);
        let mut planning = planning.map_err(|why| self.stuck(why))?;
        let mut telling = Telling::new(self.source.offer(), have);
        self.buffer.resize(CHUNK, 0);
        loop {
            tokio::select! {
                found = planning.next() => match found {
                    Some(Ok(Found::Runs(runs))) => {
                        telling.clip(runs);
                        self.parts(&mut telling).await?;
                    }
                    Some(Ok(Found::Hash(index, hash))) => {
                        self.keep(index, hash);
                        reconcile.ours(index, hash);
                    }
                    Some(Err(why)) => return Err(self.stuck(why)),
                    None => break,
                },
                Some(said) = heard.recv() => match said {
                    Heard::Pieces(bytes) => {
                        planning.basis(decode(&bytes)).map_err(|why| self.stuck(why))?;
                    }
                    Heard::Hashes(hashes) => reconcile.told(hashes)?,
                },
                error = self.writer.drive() => return Err(error.into()),
            }
        }
        if telling.offset != size {
            return Err(self.source.failure(Cause::Internal).into());
        }
        self.copies(&mut telling.copies)
    }

    fn stuck(&self, why: Stuck) -> TransferError {
        match why {
            Stuck::Source(error) => self.source.read_error(&error).into(),
            Stuck::Basis => TransferError::misbehaved("its basis is cut in a way that can't be"),
        }
    }

    async fn parts(&mut self, telling: &mut Telling) -> Result<(), TransferError> {
        for (offset, run) in telling.parts.drain(..) {
            match run {
                Op::Copy { from, len } => {
                    telling.copies.push(Copy { from, len });
                    self.reused(u64::from(len));
                    if telling.copies.len() == MAX_COPIES {
                        self.copies(&mut telling.copies)?;
                        self.writer.flush().await?;
                    }
                }
                Op::Literal { len } => {
                    self.copies(&mut telling.copies)?;
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
}

fn decode(bytes: &[u8]) -> Vec<Piece> {
    let (pieces, _) = bytes.as_chunks::<PIECE_LEN>();
    let piece = |[hash @ .., a, b, c, d]: &[u8; PIECE_LEN]| Piece {
        hash: *hash,
        len: u32::from_le_bytes([*a, *b, *c, *d]),
    };
    pieces.iter().map(piece).collect()
}
