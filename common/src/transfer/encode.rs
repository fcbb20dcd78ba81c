//! How a chunk's or literal's bytes are on the wire: as they are, as nothing when they are all zero,
//! or compressed where that pays.

use std::io;

use tokio::io::AsyncRead;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::DParameter;

use super::error::TransferError;
use crate::limits::CHUNK;
use crate::link::Reader;
use crate::protocol::transfer::Encoding;

/// The compressor's level: what one core does at the speed of a fast network.
const LEVEL: i32 = 1;

/// Largest window that a peer's frame may ask for, as a power of two: more than a chunk has no use.
const WINDOW_LOG_MAX: u32 = 23;

/// Bodies that do not lose a sixteenth are sent as they are: taking them apart would cost more.
const WORTH: usize = 16;

/// After this many bodies in a row that did not pay, only every so many are tried.
const PATIENCE: u32 = 4;

/// Encodes the bodies of one transfer.
pub(super) struct Encoder {
    compressor: Option<Compressor<'static>>,
    packed: Vec<u8>,
    /// Bodies in a row that did not pay.
    futile: u32,
}

impl Encoder {
    pub(super) fn new(compress: bool) -> io::Result<Self> {
        let compressor = if compress { Some(Compressor::new(LEVEL)?) } else { None };
        Ok(Self { compressor, packed: Vec::new(), futile: 0 })
    }

    /// The body to send for `bytes`, of which there are [`CHUNK`] at most.
    pub(super) fn encode<'a>(&'a mut self, bytes: &'a [u8]) -> (Encoding, &'a [u8]) {
        if is_zero(bytes) {
            return (Encoding::Zeros, &[]);
        }
        if self.compress(bytes) { (Encoding::Zstd, &self.packed) } else { (Encoding::Raw, bytes) }
    }

    fn compress(&mut self, bytes: &[u8]) -> bool {
        let Some(compressor) = &mut self.compressor else { return false };
        if self.futile >= PATIENCE && !self.futile.is_multiple_of(PATIENCE) {
            self.futile += 1;
            return false;
        }
        self.packed.resize(CHUNK, 0);
        let room = bytes.len() - bytes.len() / WORTH;
        // What does not fit into the room does not pay either.
        let pays = match compressor.compress_to_buffer(bytes, &mut self.packed[..room]) {
            Ok(len) => {
                self.packed.truncate(len);
                true
            }
            Err(_) => false,
        };
        self.futile = if pays { 0 } else { self.futile.saturating_add(1) };
        pays
    }
}

/// Decodes compressed bodies, into the room that they must fill and no more.
pub(super) struct Decoder {
    decompressor: Option<Decompressor<'static>>,
    packed: Vec<u8>,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { decompressor: None, packed: Vec::new() }
    }

    /// Takes the rest of a bulk frame, a body in this encoding that must fill `out`.
    pub(super) async fn body<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut Reader<R>,
        encoding: u8,
        out: &mut [u8],
    ) -> Result<(), TransferError> {
        let body = reader.bulk_left();
        match Encoding::from_wire(encoding) {
            Some(Encoding::Raw) if body == out.len() => reader.bulk(out).await?,
            Some(Encoding::Zeros) if body == 0 => out.fill(0),
            Some(Encoding::Zstd) if body < out.len() => {
                let mut packed = std::mem::take(&mut self.packed);
                packed.resize(body, 0);
                reader.bulk(&mut packed).await?;
                let unpacked = self.decompress(&packed, out);
                unpacked.map_err(|_| TransferError::misbehaved("a body can't be decompressed"))?;
                self.packed = packed;
            }
            Some(_) => return Err(TransferError::misbehaved("a body has the wrong length")),
            None => return Err(TransferError::misbehaved("a body has an unknown encoding")),
        }
        Ok(())
    }

    /// Fills `out` from one zstd frame. A frame that holds more or fewer bytes is an error.
    pub(super) fn decompress(&mut self, packed: &[u8], out: &mut [u8]) -> io::Result<()> {
        let decompressor = match &mut self.decompressor {
            Some(decompressor) => decompressor,
            none => {
                let mut new = Decompressor::new()?;
                new.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
                none.insert(new)
            }
        };
        if decompressor.decompress_to_buffer(packed, out)? == out.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }
}

/// Whether all bytes are zero; decided at once for nearly all that are not.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    const WORDS: usize = 64;
    let mut blocks = bytes.chunks_exact(WORDS);
    blocks.all(|block| block.iter().fold(0, |all, byte| all | byte) == 0)
        && blocks.remainder().iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_compressed_noise_is_not_and_zeros_are_nothing() {
        let mut encoder = Encoder::new(true).unwrap();
        let text = b"all work and no play ".repeat(1000);
        let mut noise = vec![0; 20_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        assert_eq!(encoder.encode(&text).0, Encoding::Zstd);
        for _ in 0..20 {
            assert_eq!(encoder.encode(&noise), (Encoding::Raw, noise.as_slice()));
        }
        assert_eq!(encoder.encode(&[0; 5000]), (Encoding::Zeros, &[][..]));
        let tried = (0..PATIENCE).any(|_| encoder.encode(&text).0 == Encoding::Zstd);
        assert!(tried, "what follows noise is tried again");
        assert_eq!(Encoder::new(false).unwrap().encode(&text).0, Encoding::Raw);
    }

    #[test]
    fn a_bomb_or_a_short_frame_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
        let mut out = vec![0; 1000];
        assert!(Decoder::new().decompress(&bomb, &mut out).is_err());
        let short = zstd::bulk::compress(&[7; 999], 1).unwrap();
        assert!(Decoder::new().decompress(&short, &mut out).is_err());
        assert!(Decoder::new().decompress(b"garbage", &mut out).is_err());
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(bytes in prop::collection::vec(0_u8..4, 0..3000)) {
            let mut encoder = Encoder::new(true).unwrap();
            let (encoding, body) = encoder.encode(&bytes);
            prop_assert_eq!(Encoding::from_wire(encoding as u8), Some(encoding));
            let mut out = vec![0; bytes.len()];
            match encoding {
                Encoding::Raw => out.copy_from_slice(body),
                Encoding::Zeros => {}
                Encoding::Zstd => Decoder::new().decompress(body, &mut out).unwrap(),
            }
            prop_assert_eq!(out, bytes);
        }

        #[test]
        fn zero_is_seen_wherever_a_byte_is(len in 0_usize..300, at in 0_usize..300) {
            let mut bytes = vec![0; len];
            prop_assert!(is_zero(&bytes));
            if at < len {
                bytes[at] = 1;
                prop_assert!(!is_zero(&bytes));
            }
        }
    }
}
