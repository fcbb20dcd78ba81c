//! Decodes a stream, in pieces of any size. No I/O.

use encoding_rs::{Decoder, DecoderResult};

use super::name::HostEncoding;

/// In place of what can't be decoded.
const REPLACEMENT: char = '\u{fffd}';

/// Bytes of text that there is room for, should the library not say how many it needs.
const SOME: usize = 16 * 1024;

/// The decoder of one stream.
pub(super) struct StreamDecoder {
    encoding: HostEncoding,
    decoder: Decoder,
    /// Bytes have come since the beginning of the stream.
    has_begun: bool,
    replaced: u64,
}

impl StreamDecoder {
    /// Begins a stream.
    pub(super) fn new(encoding: HostEncoding) -> Self {
        Self { encoding, decoder: decoder(encoding), has_begun: false, replaced: 0 }
    }

    /// Appends the text of the next bytes, as far as it is complete.
    pub(super) fn push(&mut self, bytes: &[u8], text: &mut String) {
        self.has_begun |= !bytes.is_empty();
        self.convert(bytes, false, text);
    }

    /// Ends the stream: appends what is left of it. What is pushed next is another stream.
    pub(super) fn end(&mut self, text: &mut String) {
        if std::mem::take(&mut self.has_begun) {
            self.convert(&[], true, text);
            self.decoder = decoder(self.encoding);
        }
    }

    /// How often a [`REPLACEMENT`] stands in the text.
    pub(super) fn replaced(&self) -> u64 {
        self.replaced
    }

    fn convert(&mut self, mut bytes: &[u8], is_last: bool, text: &mut String) {
        loop {
            let most = self.decoder.max_utf8_buffer_length_without_replacement(bytes.len());
            text.reserve(most.unwrap_or(SOME));
            let (result, read) =
                self.decoder.decode_to_string_without_replacement(bytes, text, is_last);
            bytes = &bytes[read..];
            match result {
                DecoderResult::InputEmpty => return,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => {
                    self.replaced += 1;
                    text.push(REPLACEMENT);
                }
            }
        }
    }
}

/// A byte order mark is no text. Of UTF-16 it says the order too.
fn decoder(encoding: HostEncoding) -> Decoder {
    if encoding.is_utf16() {
        encoding.0.new_decoder()
    } else {
        encoding.0.new_decoder_with_bom_removal()
    }
}
