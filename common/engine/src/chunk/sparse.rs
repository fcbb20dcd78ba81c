//! Reads a file that may have holes, whose content is known without a read.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// An open file that is read at offsets.
pub(crate) struct SparseReader {
    file: Arc<File>,
    /// Whether the file can have holes. On a network file system each query may be a round trip.
    sparse: bool,
    /// The last hole that was found.
    hole: Range<u64>,
}

impl SparseReader {
    /// Reads an open file. Its position is changed.
    pub(crate) fn new(file: Arc<File>) -> Self {
        let sparse = file.metadata().is_ok_and(|file| file.blocks() * 512 < file.len());
        Self { file, sparse, hole: 0..0 }
    }

    /// Fills `buffer` with the bytes at `offset`. A file that is shorter gives
    /// [`io::ErrorKind::UnexpectedEof`].
    pub(crate) fn read_exact_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if self.sparse && self.is_hole(offset, buffer.len() as u64) {
            buffer.fill(0);
            return Ok(());
        }
        self.file.read_exact_at(buffer, offset)
    }

    fn is_hole(&mut self, offset: u64, len: u64) -> bool {
        if !self.hole.contains(&offset) {
            self.hole = offset..self.data_after(offset).unwrap_or(offset);
        }
        self.hole.contains(&offset) && len <= self.hole.end - offset
    }

    /// The offset of the next data, or of the file's end.
    fn data_after(&self, offset: u64) -> rustix::io::Result<u64> {
        match seek(&self.file, SeekFrom::Data(offset)) {
            Err(Errno::NXIO) => seek(&self.file, SeekFrom::End(0)),
            found => found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn file(len: u64, islands: &[u64]) -> SparseReader {
        let file = tempfile::tempfile().unwrap();
        file.set_len(len).unwrap();
        islands.iter().for_each(|&at| file.write_all_at(b"island", at).unwrap());
        SparseReader::new(Arc::new(file))
    }

    #[test]
    fn what_is_read_is_what_is_there() {
        for islands in [&[][..], &[0], &[3 * MIB - 6, 8 * MIB], &[16 * MIB - 6]] {
            let mut reader = file(16 * MIB, islands);
            assert!(reader.sparse);
            for part in [MIB / 2, 700_001] {
                for at in (0..16 * MIB - part).step_by(usize::try_from(part).unwrap()) {
                    let mut got = vec![7; usize::try_from(part).unwrap()];
                    let mut there = got.clone();
                    reader.read_exact_at(&mut got, at).unwrap();
                    reader.file.read_exact_at(&mut there, at).unwrap();
                    assert!(got == there, "{islands:?} at {at}");
                }
            }
        }
    }

    #[test]
    fn a_hole_is_not_read() {
        let mut reader = file(1 << 40, &[MIB]);
        let mut bytes = vec![7; 4096];
        reader.read_exact_at(&mut bytes, 1 << 39).unwrap();
        assert_eq!((bytes, reader.hole.end), (vec![0; 4096], 1 << 40));
    }

    #[test]
    fn a_file_that_ends_early_is_an_error_also_in_a_hole() {
        let mut reader = file(MIB, &[]);
        for at in [MIB - 1, MIB, 2 * MIB, u64::MAX / 4] {
            let error = reader.read_exact_at(&mut [0; 2], at).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{at}");
        }
    }
}
