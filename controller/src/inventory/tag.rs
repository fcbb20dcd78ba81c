//! A tag: a name for some hosts together, `@web` in a target.

use std::fmt;
use std::str::FromStr;

/// Longest tag, in bytes: as long as a host's name.
const MAX: usize = 63;

/// A host's tag: letters, digits, `_`, `.` and `-`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tag(String);

/// A text is no tag.
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
