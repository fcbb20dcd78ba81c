//! Rebuilds a file from copies of its basis and literals, chunk by chunk in the file's order.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::chunk_writer::ChunkWriter;
use crate::chunk::hash;
use crate::chunk::rehash::chunk_len;
use crate::delta::{BadDelta, Gaps, Layout, Op};
use crate::error::TransferError;
use crate::file::partial::Likeness;
use crate::page_buffer::PageBuffer;
use lariat_wire::limits::CHUNK;
use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::transfer::{Hash, Range};

/// A file that is being rebuilt. Each chunk is hashed, and verified against the sender's hash later.
pub(super) struct Rebuild {
    layout: Layout,
    basis: Arc<File>,
    size: u64,
    writer: ChunkWriter,
    /// The incomplete chunk: its index, and its first `filled` bytes.
    index: u64,
    chunk: PageBuffer,
    filled: usize,
    /// How the content so far compares with the basis.
    likeness: Likeness,
}

impl Rebuild {
    /// Rebuilds the chunks in `missing` of a file of `size` bytes.
    pub(super) fn new(
        basis: Arc<File>,
        basis_size: u64,
        missing: &[Range],
        size: u64,
        writer: ChunkWriter,
    ) -> Self {
        let layout = Layout::new(basis_size, Gaps::new(missing, size));
        let chunk = PageBuffer::new(CHUNK);
        let whole =
            missing.iter().map(|range| range.count).sum::<u64>() == size.div_ceil(CHUNK as u64);
        let likeness =
            if whole && basis_size == size { Likeness::Same } else { Likeness::Unknown(0) };
        Self { layout, basis, size, writer, index: 0, chunk, filled: 0, likeness }
    }

    /// How the complete file compares with the basis.
    pub(super) fn likeness(&self) -> Likeness {
        self.likeness
    }

    /// Whether the file is complete.
    pub(super) fn is_done(&self) -> bool {
        self.layout.is_done() && self.filled == 0
    }

    /// Waits until all chunks are written.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        self.writer.finish()
    }

    /// The incomplete chunk: its index and its bytes so far. All other chunks are written.
    pub(super) fn begun(mut self) -> Option<(u64, PageBuffer)> {
        let written = self.writer.finish();
        self.chunk.resize(self.filled);
        (written.is_ok() && self.filled > 0).then_some((self.index, self.chunk))
    }

    /// Copies a part of the basis. `done` gets the hashes of chunks that it completes.
    pub(super) fn copy(
        &mut self,
        from: u64,
        len: u32,
        mut done: impl FnMut(u64, Hash) -> Result<(), LinkError>,
    ) -> Result<(), TransferError> {
        let mut at = self.layout.place(Op::Copy { from, len })?;
        if at != from {
            self.differs_at(at);
        }
        let (mut from, mut left) = (from, len as usize);
        while left > 0 {
            let part = self.begin(at, left);
            let into = &mut self.chunk[self.filled..self.filled + part];
            // If the basis can't be read or was truncated, the buffer keeps other bytes, which the chunk's hash
            // shows.
            let _ = read_up_to(&self.basis, into, from);
            self.filled += part;
            (at, from, left) = (at + part as u64, from + part as u64, left - part);
            self.end(&mut done)?;
        }
        Ok(())
    }

    /// Adds bytes that the basis does not have. `done` gets the hashes of chunks that they complete.
    pub(super) fn literal(
        &mut self,
        mut bytes: &[u8],
        mut done: impl FnMut(u64, Hash) -> Result<(), LinkError>,
    ) -> Result<(), TransferError> {
        let len = u32::try_from(bytes.len()).map_err(|_| BadDelta::RunLength)?;
        let mut at = self.layout.place(Op::Literal { len })?;
        self.differs_at(at);
        while !bytes.is_empty() {
            let part = self.begin(at, bytes.len());
            let (now, rest) = bytes.split_at(part);
            self.chunk[self.filled..self.filled + part].copy_from_slice(now);
            self.filled += part;
            (at, bytes) = (at + part as u64, rest);
            self.end(&mut done)?;
        }
        Ok(())
    }

    /// Records that the content at this offset differs from the basis.
    fn differs_at(&mut self, at: u64) {
        if self.likeness == Likeness::Same {
            self.likeness = Likeness::Unknown(at);
        }
    }

    /// How much of a run of `left` bytes at offset `at` belongs to the current chunk.
    fn begin(&mut self, at: u64, left: usize) -> usize {
        self.index = at / CHUNK as u64;
        left.min(chunk_len(self.size, self.index) - self.filled)
    }

    fn end(
        &mut self,
        done: &mut impl FnMut(u64, Hash) -> Result<(), LinkError>,
    ) -> Result<(), TransferError> {
        if self.filled == chunk_len(self.size, self.index) {
            let mut chunk = std::mem::take(&mut self.chunk);
            chunk.resize(self.filled);
            let hash = hash::chunk(self.index, &chunk);
            self.chunk = self.writer.write(self.index, chunk)?;
            self.filled = 0;
            done(self.index, hash)?;
        }
        Ok(())
    }
}

fn read_up_to(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.read_at(buffer, offset)? {
            0 => return Ok(()),
            read => {
                buffer = &mut buffer[read..];
                offset += read as u64;
            }
        }
    }
    Ok(())
}
