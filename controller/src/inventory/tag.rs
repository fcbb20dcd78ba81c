//! A tag, which names a group of hosts: `@web` in a target.

use std::fmt;
use std::str::FromStr;

/// Longest tag, in bytes, which is also the longest host name.
const MAX: usize = 63;

/// A host's tag: letters, digits, `_`, `.` and `-`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tag(String);

/// A text is not a tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a tag (1 to 63 letters, digits, '_', '.' and '-', beginning with a letter or digit)"
)]
pub(crate) struct BadTag(String);

impl Tag {
    /// The tag as text, without `@`.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// A host's tags, with new ones behind them.
    pub(crate) fn joined(present: Option<&[Self]>, new: &[Self]) -> Vec<Self> {
        let mut tags = present.map(<[Self]>::to_vec).unwrap_or_default();
        for tag in new {
            if !tags.contains(tag) {
                tags.push(tag.clone());
            }
        }
        tags
    }
}

impl FromStr for Tag {
    type Err = BadTag;

    fn from_str(text: &str) -> Result<Self, BadTag> {
        let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let good = text.len() <= MAX
            && text.bytes().all(letter)
            && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if good { Ok(Self(text.to_owned())) } else { Err(BadTag(text.to_owned())) }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
