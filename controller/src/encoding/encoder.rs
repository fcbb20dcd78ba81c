//! Encodes a stream of UTF-8, in pieces of any size. No I/O.

use encoding_rs::{Encoder, EncoderResult, UTF_16BE};

use super::name::HostEncoding;

/// In place of what is no character, or none of the encoding.
const REPLACEMENT: &str = "?";

/// At the beginning of a text it is no character of it.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Bytes that there is room for, should the library not say how many it needs.
const SOME: usize = 16 * 1024;

/// The encoder of one stream.
pub(super) struct StreamEncoder {
    target: Target,
    /// The beginning of a character whose rest has not come yet.
    begun: Vec<u8>,
    /// A character has come.
    has_begun: bool,
    replaced: u64,
}

enum Target {
    /// One that the library encodes.
    Other(Encoder),
    /// UTF-16, which the library only decodes.
    Utf16 { big_endian: bool },
}

impl StreamEncoder {
    /// Begins a stream.
    pub(super) fn new(encoding: HostEncoding) -> Self {
        let target = if encoding.is_utf16() {
            Target::Utf16 { big_endian: encoding.0 == UTF_16BE }
        } else {
            Target::Other(encoding.0.new_encoder())
        };
        Self { target, begun: Vec::new(), has_begun: false, replaced: 0 }
    }

    /// Appends the next bytes in the encoding, as far as their characters are complete.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        let mut chunks = all.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            self.convert(chunk.valid(), false, out);
            let is_at_end = chunks.peek().is_none();
            if is_at_end && is_beginning(chunk.invalid()) {
                self.begun = chunk.invalid().to_vec();
            } else if !chunk.invalid().is_empty() {
                self.replace(out);
            }
        }
    }

    /// Ends the stream: appends what is left of it.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        if !std::mem::take(&mut self.begun).is_empty() {
            self.replace(out);
        }
        self.convert("", true, out);
    }

    /// How often a [`REPLACEMENT`] was put in place of something else.
    pub(super) fn replaced(&self) -> u64 {
        self.replaced
    }

    fn replace(&mut self, out: &mut Vec<u8>) {
        self.replaced += 1;
        self.convert(REPLACEMENT, false, out);
    }

    fn convert(&mut self, mut text: &str, is_last: bool, out: &mut Vec<u8>) {
        if !text.is_empty() && !std::mem::replace(&mut self.has_begun, true) {
            text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        }
        let encoder = match &mut self.target {
            Target::Utf16 { big_endian } => {
                let bytes = |unit: u16| {
                    if *big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() }
                };
                out.extend(text.encode_utf16().flat_map(bytes));
                return;
            }
            Target::Other(encoder) => encoder,
        };
        loop {
            let most = encoder.max_buffer_length_from_utf8_without_replacement(text.len());
            out.reserve(most.unwrap_or(SOME));
            let (result, read) =
                encoder.encode_from_utf8_to_vec_without_replacement(text, out, is_last);
            text = &text[read..];
            match result {
                EncoderResult::InputEmpty => return,
                EncoderResult::OutputFull => {}
                EncoderResult::Unmappable(_) => {
                    self.replaced += 1;
                    // The encoder is in its state of ASCII now, should it have several.
                    out.extend_from_slice(REPLACEMENT.as_bytes());
                }
            }
        }
    }
}

/// Whether bytes that are no UTF-8 are the beginning of a character. What `utf8_chunks` calls invalid is such a
/// beginning, or a byte that is none.
fn is_beginning(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}
