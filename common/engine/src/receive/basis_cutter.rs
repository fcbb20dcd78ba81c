//! Cuts the basis on a thread of its own, and sends its pieces to the sender.

use std::io;

use tokio::io::{AsyncWrite, WriteHalf};
use tokio::sync::mpsc;

use crate::delta::{Cutter, Params, Piece};
use crate::file::basis::BasisFile;
use lariat_wire::link::{LinkError, Writer};
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::transfer::{MAX_PIECES, PIECE_LEN};

/// Pieces that the thread hands over together.
const BATCH: usize = 1024;

/// The thread that cuts a basis.
pub(super) struct BasisCutter {
    pieces: mpsc::Receiver<io::Result<Vec<Piece>>>,
    /// Bytes of the basis in pieces that were not sent yet.
    left: u64,
    params: Params,
}

impl BasisCutter {
    /// Starts the thread, which ends early when this is dropped.
    pub(super) fn start(basis: &BasisFile) -> io::Result<Self> {
        let mut cutter = Cutter::new(basis.file.clone(), basis.size, basis.params, basis.seed);
        let (batches, pieces) = mpsc::channel(4);
        std::thread::Builder::new().name("cut".to_owned()).spawn(move || {
            loop {
                let batch: io::Result<Vec<Piece>> = cutter.by_ref().take(BATCH).collect();
                let last = batch.as_ref().map_or(true, |batch| batch.len() < BATCH);
                if batches.blocking_send(batch).is_err() || last {
                    return;
                }
            }
        })?;
        Ok(Self { pieces, left: basis.size, params: basis.params })
    }

    /// Sends the pieces as they are cut, and what is posted meanwhile.
    pub(super) async fn send<W: AsyncWrite>(
        mut self,
        writer: &mut Writer<WriteHalf<W>>,
    ) -> Result<(), LinkError> {
        let mut bytes = Vec::new();
        loop {
            let pieces = tokio::select! {
                biased;
                error = writer.drive() => return Err(error),
                pieces = self.next() => pieces,
            };
            let Some(pieces) = pieces else { return Ok(()) };
            for pieces in pieces.chunks(MAX_PIECES) {
                bytes.clear();
                pieces.iter().for_each(|piece| bytes.extend_from_slice(&encode(piece)));
                writer.bulk(Kind::Pieces, &[], &bytes).await?;
            }
        }
    }

    /// The next pieces. A part that can't be read, from a bad disk or because the file was truncated, becomes
    /// pieces that match nothing, so the sender sends its content.
    async fn next(&mut self) -> Option<Vec<Piece>> {
        let pieces =
            self.pieces.recv().await?.unwrap_or_else(|_| self.params.unlike_any(self.left));
        self.left -= pieces.iter().map(|piece| u64::from(piece.len)).sum::<u64>();
        Some(pieces)
    }
}

/// A piece as on the wire.
fn encode(piece: &Piece) -> [u8; PIECE_LEN] {
    let mut bytes = [0; PIECE_LEN];
    bytes[..16].copy_from_slice(&piece.hash);
    bytes[16..].copy_from_slice(&piece.len.to_le_bytes());
    bytes
}
