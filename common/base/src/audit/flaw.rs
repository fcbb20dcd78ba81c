//! What can be wrong with an audit, and where.

use std::fmt;

use super::file_name::FileName;

/// What is wrong with a line, or with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It can't be read as a line.
    #[error("this is no line of an audit: it was changed")]
    Malformed,
    /// Its hash is another.
    #[error("this line was changed: its hash is not that of its bytes")]
    Changed,
    /// Its number is another.
    #[error("this is line {found}, and {}", place(*expected, *found))]
    Place {
        /// The number that is due.
        expected: u64,
        /// The line's own.
        found: u64,
    },
    /// It names another predecessor.
    #[error("this line does not follow the one before it: one of them was rewritten")]
    Unlinked,
    /// The file does not begin as its name and its place say.
    #[error("a file begins with its opening line, and nowhere else is one")]
    Beginning,
    /// The file belongs to another chain.
    #[error("this file is of another chain")]
    OtherChain,
    /// The file has no whole line, or ends within one, although another follows.
    #[error("the file ends within a line")]
    Cut,
    /// Files are missing in front of another.
    #[error("this file is missing, or the end of the one before it: {0}")]
    Missing(Gap),
}

/// Lines that are missing, with their file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first line that is missing.
    pub first: u64,
    /// The last one.
    pub last: u64,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last } = self;
        if first == last { write!(f, "line {first}") } else { write!(f, "lines {first} to {last}") }
    }
}

fn place(expected: u64, found: u64) -> String {
    match found.checked_sub(expected) {
        Some(1) => format!("line {expected} is missing before it"),
        Some(_) => format!("lines {expected} to {} are missing before it", found - 1),
        None => format!("line {expected} is due: it was moved or doubled"),
    }
}

/// The first place at which the chain is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The file.
    pub file: FileName,
    /// The line in the file, from 1, unless it is the file as a whole.
    pub line: Option<u64>,
    /// What is wrong.
    pub flaw: Flaw,
}

impl std::error::Error for Wrong {}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.flaw),
            None => write!(f, "{}: {}", self.file, self.flaw),
        }
    }
}
