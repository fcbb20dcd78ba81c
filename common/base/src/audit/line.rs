//! One line: where it stands in the chain, and its seal.
//!
//! `{"seq":N,"time":"...","prev":"HASH","event":"NAME", ... ,"hash":"HASH"}`: the first four fields and the last
//! one have fixed places. `hash` is the SHA-256 of the line's bytes before `,"hash":`, and `prev` that of the
//! line before, so each hash covers everything that came earlier.

use sha2::{Digest, Sha256};

/// A line's SHA-256.
pub type Hash = [u8; 32];

/// What stands for the hash before the first line.
pub const NO_HASH: Hash = [0; 32];

/// The longest line that is read, in bytes. The agent writes shorter ones.
pub const MAX_LINE: usize = 256 * 1024;

/// What comes before a line's hash.
const BEFORE_HASH: &[u8] = b",\"hash\":\"";

/// Length of what follows the hashed bytes: the field's name, 64 digits, and the end of the object.
const SEAL: usize = BEFORE_HASH.len() + 64 + 2;

/// The place of a line in its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The line's number, from 1.
    pub seq: u64,
    /// When it was written, RFC 3339 in UTC with milliseconds.
    pub time: &'a str,
    /// The hash of the line before.
    pub prev: Hash,
    /// What happened.
    pub event: &'a str,
    /// The hash that the line states.
    pub hash: Hash,
    /// Whether `hash` is that of the line's bytes.
    pub is_sealed: bool,
}

/// These bytes are not a line of an audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a line of an audit")]
pub struct Malformed;

/// Seals a line that lacks only its hash and its end: `{...` without the closing brace. Appends both, and a
/// newline.
pub fn seal(line: &mut Vec<u8>) -> Hash {
    let hash: Hash = Sha256::digest(&*line).into();
    line.extend_from_slice(BEFORE_HASH);
    line.extend_from_slice(hex(&hash).as_bytes());
    line.extend_from_slice(b"\"}\n");
    hash
}

/// Reads a line without its newline.
pub fn read(line: &[u8]) -> Result<Head<'_>, Malformed> {
    parse(line).ok_or(Malformed)
}

fn parse(line: &[u8]) -> Option<Head<'_>> {
    let (sealed, end) = line.split_at_checked(line.len().checked_sub(SEAL)?)?;
    let end = end.strip_prefix(BEFORE_HASH)?.strip_suffix(b"\"}")?;
    let rest = sealed.strip_prefix(b"{\"seq\":")?;
    let (seq, rest) = rest.split_at(rest.iter().position(|b| !b.is_ascii_digit())?);
    let seq = std::str::from_utf8(seq).ok()?;
    if seq.starts_with('0') {
        return None;
    }
    let (time, rest) = until_quote(rest.strip_prefix(b",\"time\":\"")?)?;
    let (prev, rest) = until_quote(rest.strip_prefix(b",\"prev\":\"")?)?;
    let (event, _) = until_quote(rest.strip_prefix(b",\"event\":\"")?)?;
    let hash = digits(std::str::from_utf8(end).ok()?)?;
    let found: Hash = Sha256::digest(sealed).into();
    Some(Head {
        // There is always a next number.
        seq: seq.parse().ok().filter(|&seq| seq < u64::MAX)?,
        time,
        prev: digits(prev)?,
        event,
        hash,
        is_sealed: found == hash,
    })
}

fn until_quote(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|&b| b == b'"')?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

/// The digits of a hash.
pub fn hex(hash: &Hash) -> String {
    hex::encode(hash)
}

/// Parses 64 lower-case digits. A hash has no other spelling.
fn digits(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    hex::decode_to_slice(text, &mut hash).ok()?;
    (hex(&hash) == text).then_some(hash)
}

/// Whether bytes without a newline at the end of the newest file can be the beginning of a line, which a
/// killed process or a power cut left.
pub(super) fn may_be_cut(bytes: &[u8]) -> bool {
    // No text in a line has this, since its quotes would be escaped.
    let seal = bytes.windows(BEFORE_HASH.len()).rposition(|part| part == BEFORE_HASH);
    seal.is_none_or(|at| bytes.len() - at <= SEAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Vec<u8> {
        let head = format!(
            "{{\"seq\":7,\"time\":\"T\",\"prev\":\"{}\",\"event\":\"began\"",
            hex(&[5; 32])
        );
        let mut line = head.into_bytes();
        seal(&mut line);
        assert_eq!(line.pop(), Some(b'\n'));
        line
    }

    #[test]
    fn a_sealed_line_is_read() {
        let line = line();
        let head = read(&line).unwrap();
        assert_eq!((head.seq, head.time, head.prev, head.event), (7, "T", [5; 32], "began"));
        assert!(head.is_sealed);
    }

    #[test]
    fn a_line_has_a_number_with_one_behind_it() {
        for (seq, is_right) in [(u64::MAX, false), (u64::MAX - 1, true), (0, false)] {
            let digits = hex(&[5; 32]);
            let mut line =
                format!("{{\"seq\":{seq},\"time\":\"T\",\"prev\":\"{digits}\",\"event\":\"e\"")
                    .into_bytes();
            seal(&mut line);
            assert_eq!(read(line.trim_ascii_end()).is_ok(), is_right, "{seq}");
        }
    }

    #[test]
    fn every_flipped_bit_shows() {
        let line = line();
        for place in 0..line.len() {
            for bit in 0..8 {
                let mut changed = line.clone();
                changed[place] ^= 1 << bit;
                assert!(!read(&changed).is_ok_and(|head| head.is_sealed), "{place} {bit}");
            }
        }
    }

    #[test]
    fn a_beginning_may_be_cut_and_a_whole_line_with_more_behind_it_is_not() {
        let line = line();
        for len in 0..line.len() {
            assert!(read(&line[..len]).is_err() && may_be_cut(&line[..len]), "{len}");
        }
        assert!(may_be_cut(&line), "it lacks its newline");
        assert!(!may_be_cut(&[&line[..], b"\x0b"].concat()));
    }
}
