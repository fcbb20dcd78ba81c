//! TLS 1.3 records, one direction at a time: sealing and opening, without I/O (RFC 8446 section 5).
//!
//! Both work from one buffer into another, so that bytes between a file and a socket are never copied just
//! for the cipher.

use std::ops::Range;

use aws_lc_rs::aead::{Aad, Nonce};
use rustls::Tls13CipherSuite;
use rustls::crypto::tls13::OkmBlock;

use super::secrets::{Keys, UnknownCipher, next};

/// Length of a record's header, in bytes.
pub(super) const HEADER: usize = 5;
/// Length of an authentication tag, in bytes, which is the same for all ciphers of TLS 1.3.
pub(super) const TAG: usize = 16;
/// Most bytes of content in a record.
pub(super) const MAX_CONTENT: usize = 1 << 14;
/// Most bytes of a record after its header.
pub(super) const MAX_BODY: usize = MAX_CONTENT + 256;
/// What a record adds to its content, in bytes: header, content type, tag.
pub(super) const OVERHEAD: usize = HEADER + 1 + TAG;

/// The content type of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Alert = 21,
    Handshake = 22,
    Data = 23,
}

/// Why no more records of a connection can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadRecord {
    #[error("a TLS record is damaged or forged")]
    Forged,
    #[error("a TLS record has no valid header")]
    Header,
    #[error("a TLS record has an impossible content")]
    Content,
    #[error("the peer ended TLS with alert {0}")]
    Alert(u8),
}

/// What a record means for its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordEvent {
    /// Bytes for the reader.
    Data,
    /// Nothing follows (section 6.1).
    Closed,
    /// The next record is under new keys (section 4.6.3).
    Update {
        /// Whether the peer asks for new keys of this end too.
        asked: bool,
    },
    /// A session ticket, which is ignored (section 4.6.1).
    Ticket,
}

impl RecordEvent {
    /// Interprets a record's content. A key update must be complete and alone in its record.
    pub(super) fn of(kind: Content, content: &[u8]) -> Result<Self, BadRecord> {
        const TICKET: u8 = 4;
        match (kind, content) {
            (Content::Data, _) => Ok(Self::Data),
            (Content::Alert, [_, 0]) => Ok(Self::Closed),
            (Content::Alert, &[_, alert]) => Err(BadRecord::Alert(alert)),
            (Content::Handshake, [24, 0, 0, 1, asked @ (0 | 1)]) => {
                Ok(Self::Update { asked: *asked == 1 })
            }
            (Content::Handshake, [TICKET, ..]) => Ok(Self::Ticket),
            _ => Err(BadRecord::Content),
        }
    }
}

/// The current keys of a direction, and how many records they have protected.
struct Protection {
    suite: &'static Tls13CipherSuite,
    secret: OkmBlock,
    keys: Keys,
    sequence: u64,
}

impl Protection {
    fn new(
        suite: &'static Tls13CipherSuite,
        secret: OkmBlock,
        sequence: u64,
    ) -> Result<Self, UnknownCipher> {
        let keys = Keys::of(suite, &secret)?;
        Ok(Self { suite, secret, keys, sequence })
    }

    fn update(&mut self) {
        self.secret = next(self.suite, &self.secret);
        self.keys = Keys::of(self.suite, &self.secret).expect("this cipher is in use already");
        self.sequence = 0;
    }

    /// The nonce of the next record (section 5.3). No nonce is used twice: the sequence only grows, and
    /// starts again only with new keys.
    fn nonce(&mut self) -> Nonce {
        let mut nonce = self.keys.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        self.sequence += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Seals records that are sent.
pub(super) struct Sealer {
    protection: Protection,
    /// Records after which the keys are changed.
    limit: u64,
}

impl Sealer {
    /// Continues with a secret under which `sequence` records have been sealed.
    pub(super) fn new(
        suite: &'static Tls13CipherSuite,
        secret: OkmBlock,
        sequence: u64,
    ) -> Result<Self, UnknownCipher> {
        // Half of what is safe for the cipher (section 5.5).
        let limit = suite.common.confidentiality_limit / 2;
        Ok(Self { protection: Protection::new(suite, secret, sequence)?, limit })
    }

    #[cfg(test)]
    pub(super) fn limited_to(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    /// Whether these keys have sealed enough records.
    pub(super) fn needs_key_update(&self) -> bool {
        self.protection.sequence >= self.limit
    }

    /// Changes the keys. A key update under the old ones must have been sealed before.
    pub(super) fn update(&mut self) {
        self.protection.update();
    }

    /// Seals `content`, at most [`MAX_CONTENT`] bytes, as a record at the beginning of `out`. Returns the
    /// record's length.
    pub(super) fn seal(&mut self, kind: Content, content: &[u8], out: &mut [u8]) -> usize {
        let body = u16::try_from(content.len() + 1 + TAG).expect("records are under 64 KiB");
        let [high, low] = body.to_be_bytes();
        let header = [Content::Data as u8, 3, 3, high, low];
        let out = &mut out[..OVERHEAD + content.len()];
        out[..HEADER].copy_from_slice(&header);
        let (sealed, rest) = out[HEADER..].split_at_mut(content.len());
        let nonce = self.protection.nonce();
        let key = &self.protection.keys.key;
        key.seal_out_of_place_scatter(
            nonce,
            Aad::from(header),
            content,
            sealed,
            &[kind as u8],
            rest,
        )
        .expect("the lengths are right, and no cipher fails otherwise");
        OVERHEAD + content.len()
    }
}

/// Opens records that are received.
pub(super) struct Opener {
    protection: Protection,
}

impl Opener {
    /// Continues with a secret under which `sequence` records have been opened.
    pub(super) fn new(
        suite: &'static Tls13CipherSuite,
        secret: OkmBlock,
        sequence: u64,
    ) -> Result<Self, UnknownCipher> {
        Ok(Self { protection: Protection::new(suite, secret, sequence)? })
    }

    /// Changes the keys, after the peer's key update.
    pub(super) fn update(&mut self) {
        self.protection.update();
    }

    /// Opens a whole record into `out`, which must have space for its body without the tag. Returns its type
    /// and the length of its content.
    pub(super) fn open(
        &mut self,
        record: &[u8],
        out: &mut [u8],
    ) -> Result<(Content, usize), BadRecord> {
        let (header, body) = record.split_first_chunk::<HEADER>().ok_or(BadRecord::Header)?;
        let at = body.len().checked_sub(TAG).ok_or(BadRecord::Header)?;
        let (sealed, tag) = body.split_at(at);
        let out = out.get_mut(..at).ok_or(BadRecord::Header)?;
        let nonce = self.protection.nonce();
        let key = &self.protection.keys.key;
        key.open_separate_gather(nonce, Aad::from(header), sealed, tag, out)
            .map_err(|_| BadRecord::Forged)?;
        kind_and_len(out)
    }

    /// Opens a whole record in place. Returns its type and where its content is.
    pub(super) fn open_in_place(
        &mut self,
        record: &mut [u8],
    ) -> Result<(Content, Range<usize>), BadRecord> {
        let (header, body) = record.split_first_chunk_mut::<HEADER>().ok_or(BadRecord::Header)?;
        let nonce = self.protection.nonce();
        let key = &self.protection.keys.key;
        let opened =
            key.open_in_place(nonce, Aad::from(*header), body).map_err(|_| BadRecord::Forged)?;
        let (kind, len) = kind_and_len(opened)?;
        Ok((kind, HEADER..HEADER + len))
    }
}

/// The content type comes after the content and before padding of zeros (section 5.4).
fn kind_and_len(opened: &[u8]) -> Result<(Content, usize), BadRecord> {
    let len = opened.iter().rposition(|&byte| byte != 0).ok_or(BadRecord::Content)?;
    let kind = match opened[len] {
        21 => Content::Alert,
        22 => Content::Handshake,
        23 => Content::Data,
        _ => return Err(BadRecord::Content),
    };
    if len > MAX_CONTENT { Err(BadRecord::Content) } else { Ok((kind, len)) }
}

/// The length of the record at the beginning of `bytes`, or `None` until its header is complete.
pub(super) fn record_len(bytes: &[u8]) -> Result<Option<usize>, BadRecord> {
    let Some(&[kind, major, _, high, low]) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
    let body = usize::from(u16::from_be_bytes([high, low]));
    // After the handshake the outer type of every record is application data.
    if kind == Content::Data as u8 && major == 3 && (TAG + 1..=MAX_BODY).contains(&body) {
        Ok(Some(HEADER + body))
    } else {
        Err(BadRecord::Header)
    }
}
