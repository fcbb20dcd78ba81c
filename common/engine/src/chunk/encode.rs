//! Encodes the bytes of a chunk or literal: raw, empty if all are zero, or compressed if that pays.

use std::io;

use tokio::io::AsyncRead;
use zstd::bulk::{Compressor, Decompressor};
use zstd::stream::raw::{self, Operation};
use zstd::zstd_safe::DParameter;

use crate::error::TransferError;
use lariat_wire::limits::CHUNK;
use lariat_wire::link::{LinkError, Reader};
use lariat_wire::protocol::transfer::Encoding;

/// The compression level: one core keeps up with a fast network.
const LEVEL: i32 = 1;

/// The largest window that a peer's frame may ask for, as a power of two. More than a chunk is useless.
const WINDOW_LOG_MAX: u32 = 23;

/// Compression must save this fraction, a sixteenth, or the body is sent raw.
const MIN_SAVING: usize = 16;

/// After this many bodies in a row without gain, only every one in this many is compressed.
const PATIENCE: u32 = 4;

/// Encodes the bodies of one transfer.
pub(crate) struct Encoder {
    compressor: Option<Compressor<'static>>,
    packed: Vec<u8>,
    /// The number of bodies in a row without gain.
    futile: u32,
}

impl Encoder {
    pub(crate) fn new(compress: bool) -> io::Result<Self> {
        let compressor = if compress { Some(Compressor::new(LEVEL)?) } else { None };
        Ok(Self { compressor, packed: Vec::new(), futile: 0 })
    }

    /// The body to send for `bytes`, which are [`CHUNK`] at most.
    pub(crate) fn encode<'a>(&'a mut self, bytes: &'a [u8]) -> (Encoding, &'a [u8]) {
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
        let room = bytes.len() - bytes.len() / MIN_SAVING;
        // Compression that does not fit does not pay.
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

/// Decodes bodies, each into a buffer that it must fill exactly.
pub(crate) struct Decoder {
    decompressor: Option<Decompressor<'static>>,
    packed: Vec<u8>,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self { decompressor: None, packed: Vec::new() }
    }

    /// Decodes the rest of a bulk frame into `out`, which it must fill. Returns how much of `out` is filled, also
    /// if the connection was cut, and the error.
    pub(crate) async fn body<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut Reader<R>,
        encoding: u8,
        out: &mut [u8],
    ) -> (usize, Result<(), TransferError>) {
        let body = reader.bulk_left();
        match Encoding::from_wire(encoding) {
            Some(Encoding::Raw) if body == out.len() => {
                let (came, done) = arrived(reader, out).await;
                (came, done.map_err(Into::into))
            }
            Some(Encoding::Zstd) if body < out.len() => {
                let mut packed = std::mem::take(&mut self.packed);
                packed.resize(body, 0);
                let (came, done) = arrived(reader, &mut packed).await;
                let unpacked = match done {
                    Ok(()) => match self.decompress(&packed, out) {
                        Ok(()) => (out.len(), Ok(())),
                        Err(_) => {
                            (0, Err(TransferError::misbehaved("a body can't be decompressed")))
                        }
                    },
                    Err(cut) => (decompress_beginning(&packed[..came], out), Err(cut.into())),
                };
                self.packed = packed;
                unpacked
            }
            Some(Encoding::Zeros) if body == 0 => {
                out.fill(0);
                (out.len(), Ok(()))
            }
            Some(_) => (0, Err(TransferError::misbehaved("a body has the wrong length"))),
            None => (0, Err(TransferError::misbehaved("a body has an unknown encoding"))),
        }
    }

    /// Fills `out` from one zstd frame. A frame that holds more or fewer bytes is an error.
    pub(crate) fn decompress(&mut self, packed: &[u8], out: &mut [u8]) -> io::Result<()> {
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

/// Reads the current bulk frame into `buffer`, as far as it arrives.
async fn arrived<R: AsyncRead + Unpin>(
    reader: &mut Reader<R>,
    buffer: &mut [u8],
) -> (usize, Result<(), LinkError>) {
    let mut came = 0;
    while came < buffer.len() {
        match reader.bulk_arrived(&mut buffer[came..]).await {
            Ok(more) => came += more,
            Err(cut) => return (came, Err(cut)),
        }
    }
    (came, Ok(()))
}

/// Decompresses the complete blocks at the beginning of a zstd frame. Returns how much of `out` they fill.
fn decompress_beginning(packed: &[u8], out: &mut [u8]) -> usize {
    let mut filled = 0;
    // An error ends the usable part, which is verified by its hash later.
    let _ = raw::Decoder::new().and_then(|mut decoder| {
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
        let mut read = 0;
        loop {
            let done = decoder.run_on_buffers(&packed[read..], &mut out[filled..])?;
            (read, filled) = (read + done.bytes_read, filled + done.bytes_written);
            if done.bytes_read == 0 && done.bytes_written == 0 {
                return Ok(());
            }
        }
    });
    filled
}

/// Whether all bytes are zero. Ends at the first block that is not.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
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
    fn the_beginning_of_a_frame_is_unpacked_as_far_as_it_goes() {
        let mut bytes = vec![1; CHUNK];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes[..CHUNK / 2]);
        let packed = zstd::bulk::compress(&bytes, LEVEL).unwrap();
        let mut before = 0;
        for cut in [0, 1, 1000, 200_000, packed.len() - 1, packed.len()] {
            let mut out = vec![0; CHUNK];
            let filled = decompress_beginning(&packed[..cut], &mut out);
            assert!(out[..filled] == bytes[..filled] && filled >= before, "{cut}");
            before = filled;
        }
        assert_eq!(before, CHUNK);
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
        assert_eq!(decompress_beginning(&bomb, &mut [9; 1000]), 1000);
        assert_eq!(decompress_beginning(b"garbage", &mut [0; 1000]), 0);
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
