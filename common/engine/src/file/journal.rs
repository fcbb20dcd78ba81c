//! The journal of a partial: which chunks were verified and written.
//!
//! Every chunk that it lists is hashed again and compared with the source. So the journal is not synced, has no
//! checksum, and does not record the source: of one that has changed, such as a log that grew, most chunks are
//! the same.
//!
//! Format: [`MAGIC`] with the version, the chunk size, then records, all little-endian u64. A record is the index of
//! a chunk; or [`BEGUN`] with a length, and an index in the lower half, for the beginning of a chunk. A journal
//! of another version or chunk size is ignored, and the partial starts anew.

use std::fs::File;
use std::io::{self, Read, Write};

use crate::chunk::rehash::chunk_len;
use lariat_wire::limits::CHUNK;
use lariat_wire::protocol::transfer::{Begun, MAX_RANGES, Offer, Range};

/// The first bytes of a journal. The last one is the version.
const MAGIC: &[u8; 8] = b"lariatj2";

/// Marks a record of the beginning of a chunk. The other upper bits are its length, the lower half is the chunk's
/// index.
const BEGUN: u64 = 1 << 63;

/// An open journal.
pub(crate) struct Journal {
    file: File,
    /// The file's length if its last record is of the beginning of a chunk. The next such record replaces it.
    begun: Option<u64>,
}

/// What an earlier attempt left in the partial.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// Chunks that may be complete.
    pub(crate) chunks: Vec<Range>,
    /// A chunk whose beginning may be there.
    pub(crate) begun: Option<Begun>,
}

impl Journal {
    /// Begins a journal in an empty file.
    pub(crate) fn begin(mut file: File) -> io::Result<Self> {
        file.write_all(&header())?;
        Ok(Self { file, begun: None })
    }

    /// Resumes the journal in `file`, and returns which chunks of the offered file it lists within the partial's
    /// `len` bytes. `None` if it is no journal of this version.
    pub(crate) fn resume(
        mut file: File,
        offer: &Offer,
        len: u64,
    ) -> io::Result<Option<(Self, Left)>> {
        let header = header();
        // One attempt adds at most each chunk and a beginning between any two. Twice that is allowed.
        let most = offer.chunks().saturating_add(1).saturating_mul(4 * 8).min(u64::MAX / 4);
        let mut bytes = Vec::new();
        (&file).take(header.len() as u64 + 2 * most).read_to_end(&mut bytes)?;
        let Some(records) = bytes.strip_prefix(&header[..]) else { return Ok(None) };
        let left = left(records, offer, len);
        if records.len() as u64 >= most {
            // The source changed between many attempts: only useful records are kept.
            return Ok(Some((Self::rewrite(file, &left)?, left)));
        }
        let mut begun = None;
        if records.len() % 8 != 0 {
            // A crash cut the last record. It is filled up, so that the next ones stay aligned.
            file.write_all(&[0xff; 8][records.len() % 8..])?;
        } else if records.last().is_some_and(|byte| byte & 0x80 != 0) {
            begun = Some(bytes.len() as u64);
        }
        Ok(Some((Self { file, begun }, left)))
    }

    /// Rewrites the journal with what an earlier attempt left.
    fn rewrite(file: File, left: &Left) -> io::Result<Self> {
        file.set_len(0)?;
        let mut bytes = header();
        for range in &left.chunks {
            let indices = range.first..range.first.saturating_add(range.count);
            indices.for_each(|index| bytes.extend_from_slice(&index.to_le_bytes()));
        }
        (&file).write_all(&bytes)?;
        let journal = Self { file, begun: None };
        left.begun.map_or(Ok(()), |begun| journal.record_begun(begun))?;
        Ok(Self { begun: left.begun.map(|_| bytes.len() as u64 + 8), ..journal })
    }

    /// Records that chunk `index` was verified and written.
    pub(crate) fn record(&self, index: u64) -> io::Result<()> {
        (&self.file).write_all(&index.to_le_bytes())
    }

    /// Records the beginning of a chunk, which was written before a cut.
    pub(crate) fn record_begun(&self, begun: Begun) -> io::Result<()> {
        if let Some(len) = self.begun
            && self.file.metadata()?.len() == len
        {
            // The journal does not grow with the number of cuts.
            self.file.set_len(len - 8)?;
        }
        self.record(BEGUN | u64::from(begun.len) << 32 | begun.chunk)
    }
}

fn header() -> Vec<u8> {
    [&MAGIC[..], &(CHUNK as u64).to_le_bytes()].concat()
}

fn left(records: &[u8], offer: &Offer, len: u64) -> Left {
    let (records, _) = records.as_chunks::<8>();
    let size = offer.size.unwrap_or_default();
    let there = |index: &u64| {
        let end = index.saturating_add(1).saturating_mul(CHUNK as u64).min(size);
        *index < offer.chunks() && end <= len
    };
    let records: Vec<u64> = records.iter().map(|record| u64::from_le_bytes(*record)).collect();
    // Only the last beginning counts, unless the chunk was completed later.
    let cut = records.iter().rposition(|&record| begun(record).is_some());
    let begun = cut.and_then(|at| {
        begun(records[at]).filter(|begun| {
            let starts = begun.chunk.saturating_mul(CHUNK as u64);
            let whole = chunk_len(size, begun.chunk);
            begun.len > 0
                && usize::try_from(begun.len).is_ok_and(|len| len < whole)
                && starts + u64::from(begun.len) <= len
                && !records[at..].contains(&begun.chunk)
        })
    });
    let came_whole = |index: &u64| begun.is_none_or(|begun| begun.chunk != *index);
    let mut indices: Vec<u64> = records.into_iter().filter(there).filter(came_whole).collect();
    indices.sort_unstable();
    indices.dedup();
    Left { chunks: ranges(indices), begun }
}

/// Parses a record of the beginning of a chunk.
fn begun(record: u64) -> Option<Begun> {
    const LOWER: u64 = 0xffff_ffff;
    let len = u32::try_from((record & !BEGUN) >> 32).ok()?;
    (record & BEGUN != 0).then_some(Begun { chunk: record & LOWER, len })
}

fn ranges(indices: Vec<u64>) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for index in indices {
        match ranges.last_mut() {
            Some(last) if last.first + last.count == index => last.count += 1,
            _ => ranges.push(Range { first: index, count: 1 }),
        }
    }
    ranges.truncate(MAX_RANGES);
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{Seek, SeekFrom};

    use lariat_wire::protocol::metadata::Metadata;
    use lariat_wire::protocol::metadata::Time;
    use lariat_wire::protocol::transfer::{Have, Identity};

    const SIZE: u64 = 10 * CHUNK as u64 - 5;

    fn offer() -> Offer {
        Offer {
            size: Some(SIZE),
            sparse: false,
            metadata: Metadata { mtime: Time { secs: 1, nanos: 2 }, ..Metadata::default() },
            identity: Identity::default(),
            seed: 7,
        }
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    fn resume(bytes: &[u8], offer: &Offer) -> Option<Vec<Range>> {
        let resumed = Journal::resume(file(bytes), offer, SIZE).unwrap();
        resumed.map(|(_, left)| left.chunks)
    }

    /// Journals lie on disks: a change of these bytes needs another version in [`MAGIC`].
    #[test]
    fn the_format_is_this_to_the_byte() {
        let mut golden = b"lariatj2\0\0\x08\0\0\0\0\0".to_vec();
        golden.extend(b"\x02\x01\0\0\0\0\0\0");
        golden.extend(b"\x07\0\0\0\x05\0\0\x80");
        let mut file = file(&[]);
        let journal = Journal::begin(file.try_clone().unwrap()).unwrap();
        journal.record(0x102).unwrap();
        journal.record_begun(Begun { chunk: 7, len: 5 }).unwrap();
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, golden);
        let offer = Offer { size: Some(0x103 * CHUNK as u64), ..offer() };
        let left = Journal::resume(self::file(&golden), &offer, u64::MAX).unwrap().unwrap().1;
        let chunks = vec![Range { first: 0x102, count: 1 }];
        assert_eq!(left, Left { chunks, begun: Some(Begun { chunk: 7, len: 5 }) });
        for (place, other) in [(7, b'1'), (7, b'3'), (0, b'L'), (10, 4)] {
            let mut bytes = golden.clone();
            bytes[place] = other;
            assert_eq!(resume(&bytes, &offer), None, "another version or chunk size");
        }
    }

    #[test]
    fn what_was_recorded_is_there_again_in_order() {
        let file = file(&[]);
        let journal = Journal::begin(file.try_clone().unwrap()).unwrap();
        for index in [3, 1, 2, 2, 9, 0, 7] {
            journal.record(index).unwrap();
        }
        (&file).seek(SeekFrom::Start(0)).unwrap();
        let (_, left) = Journal::resume(file, &offer(), SIZE).unwrap().unwrap();
        let expected = [(0, 4), (7, 1), (9, 1)].map(|(first, count)| Range { first, count });
        assert_eq!(left.chunks, expected);
    }

    #[test]
    fn a_changed_source_is_compared_and_a_shorter_partial_noticed() {
        let bytes = [header(), [3_u64, 8].map(u64::to_le_bytes).concat()].concat();
        let chunk = |first| Range { first, count: 1 };
        assert_eq!(resume(&bytes, &offer()), Some(vec![chunk(3), chunk(8)]));
        let metadata = Metadata { mtime: Time { secs: 1, nanos: 3 }, ..Metadata::default() };
        let other = Offer { metadata, size: Some(5 * CHUNK as u64), ..offer() };
        assert_eq!(resume(&bytes, &other), Some(vec![chunk(3)]));
        assert_eq!(resume(b"lariatj1 of an older version", &offer()), None);
        let short = Journal::resume(file(&bytes), &offer(), 4 * CHUNK as u64 - 1).unwrap();
        assert_eq!(short.unwrap().1, Left::default());
    }

    #[test]
    fn however_often_the_source_changes_the_journal_stays_short() {
        let directory = tempfile::tempdir().unwrap();
        let open = || {
            let path = directory.path().join("journal");
            File::options().create(true).read(true).append(true).open(path).unwrap()
        };
        drop(Journal::begin(open()).unwrap());
        let mut longest = 0;
        for begun in 0..40 {
            let (journal, left) = Journal::resume(open(), &offer(), SIZE).unwrap().unwrap();
            if begun > 0 {
                assert_eq!(left.chunks, [Range { first: 0, count: 8 }]);
                assert_eq!(left.begun, Some(Begun { chunk: 8, len: begun }));
            }
            (0..8).for_each(|index| journal.record(index).unwrap());
            journal.record_begun(Begun { chunk: 8, len: begun + 1 }).unwrap();
            longest = longest.max(open().metadata().unwrap().len());
        }
        assert!(longest <= 16 + (11 * 4 + 9) * 8, "{longest}");
    }

    #[test]
    fn a_cut_entry_is_passed_over_and_later_ones_count() {
        let file = file(&[header(), 3_u64.to_le_bytes().to_vec(), vec![4, 0, 0]].concat());
        let (journal, left) =
            Journal::resume(file.try_clone().unwrap(), &offer(), SIZE).unwrap().unwrap();
        assert_eq!(left.chunks, [Range { first: 3, count: 1 }]);
        journal.record(5).unwrap();
        (&file).seek(SeekFrom::Start(0)).unwrap();
        let (_, left) = Journal::resume(file, &offer(), SIZE).unwrap().unwrap();
        assert_eq!(left.chunks, [3, 5].map(|first| Range { first, count: 1 }));
    }

    #[test]
    fn the_last_beginning_counts_and_the_journal_does_not_grow_with_cuts() {
        let begun = |chunk, len| Begun { chunk, len };
        let whole = u32::try_from(CHUNK).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let open = || {
            let path = directory.path().join("journal");
            File::options().create(true).read(true).append(true).open(path).unwrap()
        };
        Journal::begin(open()).unwrap().record(0).unwrap();
        let again = |len| Journal::resume(open(), &offer(), len).unwrap().unwrap();
        let (journal, left) = again(SIZE);
        assert_eq!(left.begun, None);
        journal.record_begun(begun(4, 7)).unwrap();
        let len = open().metadata().unwrap().len();
        for more in [8, 9, 500] {
            let (journal, _) = again(SIZE);
            journal.record_begun(begun(4, more)).unwrap();
            assert_eq!(open().metadata().unwrap().len(), len);
        }
        assert_eq!(again(SIZE).1.begun, Some(begun(4, 500)));
        assert_eq!(again(4 * CHUNK as u64 + 499).1.begun, None);
        // One that has come whole meanwhile is not begun any more.
        again(SIZE).0.record(4).unwrap();
        assert_eq!(again(SIZE).1.begun, None);
        // One that differed, and was cut when it was sent again, is not there whole.
        again(SIZE).0.record_begun(begun(0, 3)).unwrap();
        let left = Left { chunks: vec![Range { first: 4, count: 1 }], begun: Some(begun(0, 3)) };
        assert_eq!(again(SIZE).1, left);
        for bad in [begun(10, 1), begun(9, whole - 5), begun(3, 0), begun(3, whole)] {
            again(SIZE).0.record_begun(bad).unwrap();
            assert_eq!(again(SIZE).1.begun, None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_in_the_file_the_ranges_are_valid(entries: Vec<u8>, small: bool) {
            let entries: Vec<u8> = if small { entries.iter().map(|b| b % 4).collect() } else { entries };
            let bytes = [header(), entries].concat();
            let (_, left) = Journal::resume(file(&bytes), &offer(), SIZE).unwrap().unwrap();
            let have = Have { chunks: left.chunks, begun: left.begun, basis: None };
            prop_assert!(have.check(SIZE).is_ok());
        }
    }
}
