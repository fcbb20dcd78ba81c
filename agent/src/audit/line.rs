//! The fields of an audit's lines. What does not apply is absent.
//!
//! A line is its place in the chain, its event, and the fields of its parts, in that order. Text from outside is
//! escaped and bounded, so that a line is short whatever a controller sends.

use std::collections::BTreeMap;
use std::fmt::Write;

use lariat_base::audit::Hash;
use lariat_base::escape::escape;
use lariat_base::name::{JobId, KeyId, SessionId};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::keyring::{Entry, is_local};
use crate::transport::Origin;

/// Most bytes of one text, or of a command's words together.
pub(super) const MOST: usize = 4 * 1024;

/// Fields of a line.
pub trait Part {
    /// Appends the fields to a line that has some already.
    fn add_to(&self, line: &mut Vec<u8>);
}

impl<T: Serialize> Part for T {
    fn add_to(&self, line: &mut Vec<u8>) {
        let start = line.len();
        serde_json::to_writer(&mut *line, self).expect("texts and numbers can be written as JSON");
        if line.len() - start <= "{}".len() {
            line.truncate(start);
        } else {
            // The fields of an object go on in the line's own.
            line[start] = b',';
            line.pop();
        }
    }
}

/// Begins a line with its place in the chain and its event.
pub(super) fn begin(line: &mut Vec<u8>, seq: u64, time: &str, prev: &Hash, event: &str) {
    line.clear();
    let prev = hex::encode(prev);
    let head =
        format!("{{\"seq\":{seq},\"time\":\"{time}\",\"prev\":\"{prev}\",\"event\":\"{event}\"");
    line.extend_from_slice(head.as_bytes());
}

/// Who did it, from where.
#[derive(Clone, Debug, Serialize)]
pub struct Who {
    key: String,
    /// The first id of a key that has been rotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    label: String,
    origin: String,
    session: String,
}

impl Who {
    /// A key, and the session that it has.
    pub fn new(entry: &Entry, origin: &Origin, session: SessionId) -> Self {
        Self {
            key: key(entry),
            owner: owner(entry),
            label: text(entry.label.as_bytes()),
            origin: origin.to_string(),
            session: session.to_string(),
        }
    }
}

/// A key's id, or what stands for it where there is none.
pub(super) fn key(entry: &Entry) -> String {
    if is_local(entry.id) { entry.label.clone() } else { entry.id.to_string() }
}

/// The first id of a key, if it is another than the present one.
pub(super) fn owner(entry: &Entry) -> Option<String> {
    (entry.owner != entry.id).then(|| entry.owner.to_string())
}

/// Fields that were kept for a later line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept(Vec<u8>);

impl Kept {
    /// The fields of these parts.
    pub fn of(parts: &[&dyn Part]) -> Self {
        let mut fields = Vec::new();
        parts.iter().for_each(|part| part.add_to(&mut fields));
        Self(fields)
    }

    /// What is known of a job of which nothing was kept.
    pub fn of_job(key: KeyId, job: JobId) -> Self {
        let (key, job) = (key.to_string(), job.to_string());
        Self::of(&[&BTreeMap::from([("key", key), ("job", job)])])
    }

    /// The fields as they are kept: `{...}`.
    pub fn to_bytes(&self) -> Vec<u8> {
        [b"{", self.0.get(1..).unwrap_or_default(), b"}"].concat()
    }

    /// Reads [`Self::to_bytes`]; `None` if these are not such bytes, as after a crash of the host.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let inner = bytes.strip_prefix(b"{")?.strip_suffix(b"}")?;
        let is_object =
            serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(bytes).is_ok();
        let fits = is_object && !inner.is_empty() && !inner.contains(&b'\n');
        fits.then(|| Self([b",", inner].concat()))
    }
}

impl Part for Kept {
    fn add_to(&self, line: &mut Vec<u8>) {
        line.extend_from_slice(&self.0);
    }
}

/// The chain that a file belongs to.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Opened {
    pub(super) chain: String,
    pub(super) host: String,
    pub(super) enrolment: String,
    pub(super) version: &'static str,
}

/// Lines that a line of the audit itself is about.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct About {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// Length and SHA-256 of bytes that are not in the line themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Digested {
    bytes: u64,
    sha256: String,
}

impl Digested {
    /// Hashes these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::new(bytes.len() as u64, Sha256::digest(bytes).into())
    }

    /// Bytes that were hashed elsewhere.
    pub fn new(bytes: u64, hash: Hash) -> Self {
        Self { bytes, sha256: hex::encode(hash) }
    }
}

/// Bytes from outside as text: like [`escape`], but line breaks and tabs stay, for JSON has escapes for them. What is
/// too long is cut, with a mark that tells its length and its sum.
pub fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().min(MOST));
    for part in bytes[..bytes.len().min(MOST)].split_inclusive(|b| matches!(b, b'\n' | b'\t')) {
        match part {
            [line @ .., end @ (b'\n' | b'\t')] => {
                text.push_str(&escape(line));
                text.push(char::from(*end));
            }
            line => text.push_str(&escape(line)),
        }
    }
    if bytes.len() > MOST {
        let Digested { bytes, sha256 } = Digested::of(bytes);
        let _ = write!(text, "... ({bytes} bytes, sha256 {sha256})");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_become_one_object_and_empty_ones_nothing() {
        let mut line = Vec::new();
        begin(&mut line, 7, "T", &[0; 32], "lost");
        About::default().add_to(&mut line);
        About { count: Some(3), ..About::default() }.add_to(&mut line);
        About { error: Some("a\"b".to_owned()), ..About::default() }.add_to(&mut line);
        let text = String::from_utf8(line).unwrap();
        assert!(text.ends_with(r#""event":"lost","count":3,"error":"a\"b""#), "{text}");
    }

    #[test]
    fn fields_that_were_kept_come_back_as_they_were() {
        let about = About { count: Some(3), error: Some("}\n".to_owned()), ..About::default() };
        let kept = Kept::of(&[&About::default(), &about]);
        assert_eq!(kept.to_bytes(), br#"{"count":3,"error":"}\n"}"#);
        assert_eq!(Kept::read(&kept.to_bytes()), Some(kept.clone()));
        let mut line = b"{\"seq\":1".to_vec();
        kept.add_to(&mut line);
        assert_eq!(line, br#"{"seq":1,"count":3,"error":"}\n""#);
        for bad in
            [&b""[..], b"{}", b"{\"count\":3", b"\0\0\0", b"{\"a\":1}\n", b"{\"a\":\n1}", b"[1]"]
        {
            assert_eq!(Kept::read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn texts_are_harmless_and_bounded() {
        assert_eq!(text(b"a\n\tb\x1b\xff\r"), "a\n\tb\\x1b\\xff\\x0d");
        let long = text(&[b'a'; 2 * MOST]);
        assert!(long.len() < MOST + 120 && long.contains("... (8192 bytes, sha256 "), "{long}");
    }
}
