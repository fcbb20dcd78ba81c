//! Writes chunks into a file and records them in its journal. Several threads may write.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::commit::CommitOptions;
use super::journal::Journal;
use super::read_back;
use crate::chunk::encode::is_zero;
use crate::error::failed;
use lariat_wire::limits::CHUNK;
use lariat_wire::protocol::failure::{Action, Failure};
use lariat_wire::protocol::transfer::{Begun, Complete, Hash};

/// Granularity of holes in a sparse file, in bytes: a block of most file systems.
const BLOCK: usize = 4096;

/// A file that chunks are written into.
pub(crate) struct Body {
    pub(crate) file: Arc<File>,
    journal: Option<Journal>,
    /// Where the bytes of earlier attempts end. Bytes below it may be missing from the journal: a crash can
    /// keep data and lose its record.
    used: u64,
    /// Whether the journal has a record.
    resumable: AtomicBool,
    /// The destination's path, for failures.
    path: Vec<u8>,
}

impl Body {
    /// Starts with an empty file.
    pub(crate) fn begin(file: Arc<File>, journal: Option<Journal>, path: Vec<u8>) -> Self {
        Self { file, journal, used: 0, resumable: AtomicBool::new(false), path }
    }

    /// Resumes a file in which an earlier attempt left `used` bytes and this journal.
    pub(crate) fn resume(file: Arc<File>, journal: Journal, used: u64, path: Vec<u8>) -> Self {
        Self { file, journal: Some(journal), used, resumable: AtomicBool::new(true), path }
    }

    /// Overwrites a file of `used` bytes, without a journal.
    pub(crate) fn over(file: Arc<File>, used: u64, path: Vec<u8>) -> Self {
        Self { used, ..Self::begin(file, None, path) }
    }

    /// Whether a later attempt can resume it.
    pub(crate) fn is_resumable(&self) -> bool {
        self.resumable.load(Ordering::Relaxed)
    }

    /// Whether it has a journal.
    pub(crate) fn has_journal(&self) -> bool {
        self.journal.is_some()
    }

    /// Writes a chunk and records it in the journal. Where nothing was written before, a chunk of zeros
    /// becomes a hole, and so do the blocks of zeros in a sparse file.
    pub(crate) fn write(
        &self,
        index: u64,
        bytes: &[u8],
        fresh: bool,
        sparse: bool,
    ) -> Result<(), Failure> {
        let offset = index * CHUNK as u64;
        let fresh = fresh && offset >= self.used;
        let mut written = if fresh && sparse {
            self.write_around_holes(bytes, offset)
        } else if fresh && is_zero(bytes) {
            Ok(())
        } else {
            self.file.write_all_at(bytes, offset)
        };
        if let (Ok(()), Some(journal)) = (&written, &self.journal) {
            written = journal.record(index);
            self.resumable.store(true, Ordering::Relaxed);
        }
        written.map_err(self.failed(Action::Write))
    }

    /// Writes bytes of a chunk's beginning, which follow `before` bytes of it, and records them in the journal.
    /// `journal` creates one if there is none.
    pub(crate) fn write_begun(
        &self,
        index: u64,
        before: usize,
        bytes: &[u8],
        journal: impl FnOnce() -> io::Result<Journal>,
    ) -> io::Result<()> {
        let len = u32::try_from(before + bytes.len()).map_err(io::Error::other)?;
        self.file.write_all_at(bytes, index * CHUNK as u64 + before as u64)?;
        let begun = Begun { chunk: index, len };
        match &self.journal {
            Some(journal) => journal.record_begun(begun)?,
            None => journal()?.record_begun(begun)?,
        }
        self.resumable.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Reads a chunk's beginning. Bytes that can't be read become zeros, which the chunk's hash shows.
    pub(crate) fn read_begun(&self, index: u64, bytes: &mut [u8]) {
        if self.file.read_exact_at(bytes, index * CHUNK as u64).is_err() {
            bytes.fill(0);
        }
    }

    /// Reads the complete file back from its disk, if the options ask for it. Returns its hash.
    pub(crate) fn read_back(
        &self,
        complete: Complete,
        options: &CommitOptions,
    ) -> Result<Option<Hash>, Failure> {
        let Complete { size, hash } = complete;
        let read = options.verify.then(|| read_back::verify(&self.file, size, hash, &self.path));
        read.transpose()
    }

    /// Turns an I/O error into a failure of this action on the destination.
    pub(crate) fn failed(&self, action: Action) -> impl Fn(io::Error) -> Failure {
        failed(action, &self.path)
    }

    fn write_around_holes(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut at = 0;
        for run in bytes.chunks(BLOCK).collect::<Vec<_>>().chunk_by(|a, b| is_zero(a) == is_zero(b))
        {
            let len = run.iter().map(|block| block.len()).sum::<usize>();
            if !is_zero(run[0]) {
                self.file.write_all_at(&bytes[at..at + len], offset + at as u64)?;
            }
            at += len;
        }
        Ok(())
    }
}
