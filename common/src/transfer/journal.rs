//! The journal beside a partial: which chunks were verified and written, for which source.
//!
//! It only says what is worth a second look: every chunk that it names is hashed again and compared
//! with the source before it counts. So it is not synced, and needs no checksum.

use std::fs::File;
use std::io::{self, Read, Write};

use crate::codec;
use crate::limits::CHUNK;
use crate::protocol::transfer::{MAX_RANGES, Offer, Range};

/// First bytes of a journal, with its version.
const MAGIC: &[u8; 8] = b"lariatj1";

/// Names a partial's chunks as they are written.
pub(super) struct Journal(File);

impl Journal {
    /// Begins a journal in an empty file.
    pub(super) fn begin(mut file: File, offer: &Offer) -> io::Result<Self> {
        file.write_all(&header(offer))?;
        Ok(Self(file))
    }

    /// Goes on with the journal in `file`, if it was for the same source, and tells which chunks it
    /// names of those that lie within the partial's `len` bytes.
    pub(super) fn resume(
        mut file: File,
        offer: &Offer,
        len: u64,
    ) -> io::Result<Option<(Self, Vec<Range>)>> {
        let header = header(offer);
        let entries = offer.chunks().saturating_mul(2).saturating_mul(8);
        let mut bytes = Vec::new();
        (&file).take(header.len() as u64 + entries).read_to_end(&mut bytes)?;
        let Some(entries) = bytes.strip_prefix(&header[..]) else { return Ok(None) };
        let ranges = ranges(entries, offer, len);
        if entries.len() % 8 != 0 {
            // A crash cut the last entry; fill it up so that the next ones stay aligned.
            file.write_all(&[0xff; 8][entries.len() % 8..])?;
        }
        Ok(Some((Self(file), ranges)))
    }

    /// Chunk `index` has been verified and written.
    pub(super) fn record(&self, index: u64) -> io::Result<()> {
        (&self.0).write_all(&index.to_le_bytes())
    }
}

fn header(offer: &Offer) -> Vec<u8> {
    let chunk = (CHUNK as u64).to_le_bytes();
    // Not what else was asked for of the source: the newest request says what the file gets.
    let state = codec::encode(&offer.state()).expect("a few numbers are far below the limit");
    [&MAGIC[..], &chunk, &state].concat()
}

fn ranges(entries: &[u8], offer: &Offer, len: u64) -> Vec<Range> {
    let (entries, _) = entries.as_chunks::<8>();
    let there = |index: &u64| {
        let size = offer.size.unwrap_or_default();
        let end = index.saturating_add(1).saturating_mul(CHUNK as u64).min(size);
        *index < offer.chunks() && end <= len
    };
    let mut indices: Vec<u64> =
        entries.iter().map(|entry| u64::from_le_bytes(*entry)).filter(there).collect();
    indices.sort_unstable();
    indices.dedup();
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

    use crate::protocol::metadata::{Metadata, Xattr};
    use crate::protocol::transfer::{Have, Identity, Time};

    const SIZE: u64 = 10 * CHUNK as u64 - 5;

    fn offer() -> Offer {
        Offer {
            size: Some(SIZE),
            sparse: false,
            metadata: Metadata { mtime: Time { secs: 1, nanos: 2 }, ..Metadata::default() },
            identity: Identity::default(),
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
        resumed.map(|(_, ranges)| ranges)
    }

    #[test]
    fn what_was_recorded_is_there_again_in_order() {
        let file = file(&[]);
        let journal = Journal::begin(file.try_clone().unwrap(), &offer()).unwrap();
        for index in [3, 1, 2, 2, 9, 0, 7] {
            journal.record(index).unwrap();
        }
        (&file).seek(SeekFrom::Start(0)).unwrap();
        let (_, ranges) = Journal::resume(file, &offer(), SIZE).unwrap().unwrap();
        let expected = [(0, 4), (7, 1), (9, 1)].map(|(first, count)| Range { first, count });
        assert_eq!(ranges, expected);
    }

    #[test]
    fn another_source_or_a_shorter_partial_is_noticed() {
        let bytes = [header(&offer()), 3_u64.to_le_bytes().to_vec()].concat();
        assert_eq!(resume(&bytes, &offer()), Some(vec![Range { first: 3, count: 1 }]));
        let metadata = Metadata { mtime: Time { secs: 1, nanos: 3 }, ..Metadata::default() };
        let other = Offer { metadata, ..offer() };
        assert_eq!(resume(&bytes, &other), None);
        // What travels of the same source may change from one attempt to the next.
        let mut more = offer();
        more.metadata.mode = 0o4755;
        more.metadata.xattrs = vec![Xattr { name: b"user.a".to_vec(), value: vec![1] }];
        assert_eq!(resume(&bytes, &more), Some(vec![Range { first: 3, count: 1 }]));
        let short = Journal::resume(file(&bytes), &offer(), 4 * CHUNK as u64 - 1).unwrap();
        assert_eq!(short.unwrap().1, []);
    }

    #[test]
    fn a_cut_entry_is_passed_over_and_later_ones_count() {
        let file = file(&[header(&offer()), 3_u64.to_le_bytes().to_vec(), vec![4, 0, 0]].concat());
        let (journal, ranges) =
            Journal::resume(file.try_clone().unwrap(), &offer(), SIZE).unwrap().unwrap();
        assert_eq!(ranges, [Range { first: 3, count: 1 }]);
        journal.record(5).unwrap();
        (&file).seek(SeekFrom::Start(0)).unwrap();
        let (_, ranges) = Journal::resume(file, &offer(), SIZE).unwrap().unwrap();
        assert_eq!(ranges, [3, 5].map(|first| Range { first, count: 1 }));
    }

    proptest! {
        #[test]
        fn whatever_is_in_the_file_the_ranges_are_valid(entries: Vec<u8>, small: bool) {
            let entries: Vec<u8> = if small { entries.iter().map(|b| b % 4).collect() } else { entries };
            let bytes = [header(&offer()), entries].concat();
            let chunks = resume(&bytes, &offer()).unwrap();
            let have = Have { chunks, basis: None };
            prop_assert!(have.check(offer().chunks()).is_ok());
        }
    }
}
