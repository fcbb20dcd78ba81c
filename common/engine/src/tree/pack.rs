//! Packs: small files concatenated in one body. No I/O.

use std::ops::Range;

use lariat_wire::limits::CHUNK;
use lariat_wire::protocol::tree::{MAX_PACKED, PackedHead};

/// A pack that is being filled.
#[derive(Default)]
pub(super) struct Packing {
    bytes: Vec<u8>,
}

/// A body that is no pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadPack;

impl Packing {
    /// Whether a file of `len` bytes still fits.
    pub(super) fn has_room(&self, len: usize) -> bool {
        self.bytes.len() + PackedHead::LEN + len <= CHUNK
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Adds a file of `len` bytes, which `fill` writes and describes. If that fails, nothing is added.
    pub(super) fn add<E>(
        &mut self,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<PackedHead, E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(CHUNK);
        }
        self.bytes.resize(start + PackedHead::LEN + len, 0);
        let (head, content) = self.bytes[start..].split_at_mut(PackedHead::LEN);
        match fill(content) {
            Ok(filled) => head.copy_from_slice(&filled.encode()),
            Err(error) => {
                self.bytes.truncate(start);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes the body, and begins the next one.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

/// A file's head, and the range of its bytes in the body.
pub(super) type Packed = (PackedHead, Range<usize>);

/// Parses a complete body.
pub(super) fn files(body: &[u8]) -> Result<Vec<Packed>, BadPack> {
    let files = whole(body);
    let end = files.last().ok_or(BadPack)?.1.end;
    if end == body.len() { Ok(files) } else { Err(BadPack) }
}

/// Parses the complete files at the beginning of a body.
pub(super) fn whole(body: &[u8]) -> Vec<Packed> {
    let mut files: Vec<Packed> = Vec::new();
    while let Some(next) = file(body, files.last().map_or(0, |(_, range)| range.end)) {
        files.push(next);
    }
    files
}

/// Parses the file at an offset.
fn file(body: &[u8], at: usize) -> Option<Packed> {
    let head = PackedHead::decode(body.get(at..)?.first_chunk()?);
    let start = at + PackedHead::LEN;
    let len = usize::try_from(head.len).ok().filter(|&len| len <= MAX_PACKED)?;
    let fits = start + len <= body.len();
    let sound = head.mtime.check().is_ok() && head.mode & !0o7777 == 0;
    (fits && sound).then_some((head, start..start + len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lariat_wire::protocol::metadata::Time;
    use proptest::prelude::*;

    fn head(number: u64, len: usize) -> PackedHead {
        let mtime = Time { secs: 1, nanos: 2 };
        PackedHead { number, mode: 0o644, mtime, len: u32::try_from(len).unwrap() }
    }

    #[test]
    fn what_can_t_be_filled_is_left_out() {
        let mut packing = Packing::default();
        packing
            .add(3, |bytes| {
                bytes.copy_from_slice(b"abc");
                Ok::<_, ()>(head(1, 3))
            })
            .unwrap();
        assert_eq!(packing.add(5, |_| Err("gone")), Err("gone"));
        packing.add(0, |_| Ok::<_, ()>(head(2, 0))).unwrap();
        let body = packing.take();
        let files = files(&body).unwrap();
        assert_eq!(files.iter().map(|(head, _)| head.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(&body[files[0].1.clone()], b"abc");
        assert!(packing.is_empty() && packing.has_room(MAX_PACKED));
    }

    proptest! {
        #[test]
        fn any_bytes_are_files_or_an_error(
            lens in prop::collection::vec(0_usize..50, 1..5),
            cut in 0_usize..400,
            noise in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut packing = Packing::default();
            for (number, &len) in (0..).zip(&lens) {
                packing.add(len, |_| Ok::<_, ()>(head(number, len))).unwrap();
            }
            let body = packing.take();
            prop_assert_eq!(files(&body).unwrap().len(), lens.len());
            let all = files(&body).unwrap();
            let cut = cut.min(body.len());
            let expected = all.iter().take_while(|(_, range)| range.end <= cut).count();
            prop_assert_eq!(whole(&body[..cut]), &all[..expected]);
            if let Ok(part) = files(&body[..cut]) {
                prop_assert!(part.len() <= lens.len());
            }
            let _ = files(&noise);
        }
    }
}
