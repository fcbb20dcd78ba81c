//! Entries for fuzzers to parsers that are private.

use std::fs::File;
use std::io::{Seek, Write};

use lariat_wire::protocol::metadata::Metadata;
use lariat_wire::protocol::transfer::{Have, Identity, Offer};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::file::journal::Journal;
pub use crate::tree::fuzzing::pack;

/// Goes on with a journal: its bytes stand behind the size of the source and the length of the partial.
///
/// # Panics
/// When the journal is resumed with chunks that the source does not have.
pub fn journal(bytes: &[u8]) {
    let Some((sizes, bytes)) = bytes.split_first_chunk::<16>() else { return };
    let [size, len] = sizes.as_chunks::<8>().0 else { return };
    let (size, len) = (u64::from_le_bytes(*size), u64::from_le_bytes(*len));
    let (metadata, identity) = (Metadata::default(), Identity::default());
    let offer = Offer { size: Some(size), sparse: false, seed: 0, metadata, identity };
    if offer.check().is_err() {
        return;
    }
    let mut file = File::from(memfd_create("journal", MemfdFlags::CLOEXEC).expect("a file"));
    file.write_all(bytes).and_then(|()| file.rewind()).expect("memory for a file");
    let Ok(Some((_, left))) = Journal::resume(file, &offer, len) else { return };
    // Of a single chunk only the beginning is resumed.
    let chunks = if offer.chunks() > 1 { left.chunks } else { Vec::new() };
    let have = Have { chunks, begun: left.begun, basis: None };
    assert!(have.check(size).is_ok(), "{have:?} of {size}");
}
