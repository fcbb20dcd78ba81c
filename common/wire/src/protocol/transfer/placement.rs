//! Where a file or a tree goes, and what becomes of it there.

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_NAME, MAX_PATH};
use crate::protocol::invalid::Invalid;

/// What becomes of a file beyond its content, where it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    /// Permission bits in place of the source's.
    pub mode: Option<u32>,
    /// Owner's name or number on the host.
    pub user: Option<String>,
    /// Group's name or number on the host.
    pub group: Option<String>,
    /// Keep what is replaced, under its name with `~` behind it.
    pub backup: bool,
    /// Write into a file that is there instead of replacing it.
    pub in_place: bool,
    /// Read the file back, compare its hash with that in `Complete`, and give it in `Done`.
    pub verify: bool,
}

impl Overrides {
    /// Checks what the types alone can't.
    pub(in crate::protocol) fn check(&self) -> Result<(), Invalid> {
        if self.mode.is_some_and(|mode| mode & !0o7777 != 0) {
            return Err(Invalid::Mode);
        }
        if self.backup && self.in_place { Err(Invalid::InPlace) } else { Ok(()) }
    }
}

/// Where a file or a directory goes. What it means is rsync's rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Of a file: the name that it gets, or, with a `/` at its end or when it is a directory, the
    /// directory that it goes into. Of a directory: the one that it goes into. Relative to the user's home,
    /// which is also what empty means.
    pub path: Vec<u8>,
    /// The source's own name: one component. A file that has none, such as stdin, goes into no directory; a
    /// directory that has none is meant by its contents, and `path` becomes its copy.
    pub name: Vec<u8>,
}

impl Destination {
    /// Checks what the types alone can't, for a file.
    pub(in crate::protocol) fn check(&self) -> Result<(), Invalid> {
        self.check_tree()?;
        if self.name.is_empty() && self.is_inside() { Err(Invalid::Name) } else { Ok(()) }
    }

    /// Checks what the types alone can't, for a directory.
    pub(in crate::protocol) fn check_tree(&self) -> Result<(), Invalid> {
        if self.path.len() > MAX_PATH || self.path.contains(&0) {
            return Err(Invalid::Path);
        }
        if self.name.is_empty() { Ok(()) } else { check_name(&self.name) }
    }

    /// Whether the path can only mean the directory that the source goes into.
    pub fn is_inside(&self) -> bool {
        matches!(self.path.rsplit(|&b| b == b'/').next(), None | Some(b"" | b"." | b".."))
    }
}

/// Whether `name` is one component that can be made in a directory.
pub fn check_name(name: &[u8]) -> Result<(), Invalid> {
    let bad = matches!(name, b"" | b"." | b"..")
        || name.len() > MAX_NAME
        || name.iter().any(|b| matches!(b, b'/' | 0));
    if bad { Err(Invalid::Name) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_without_a_name_goes_into_no_directory() {
        let check =
            |path: &str, name: &str| Destination { path: path.into(), name: name.into() }.check();
        for (path, name) in [("/srv/a", ""), ("a", ""), ("", "a"), ("/srv/", "a")] {
            assert_eq!(check(path, name), Ok(()), "{path} {name}");
        }
        for path in ["", "/srv/", ".", "a/.."] {
            assert_eq!(check(path, ""), Err(Invalid::Name), "{path}");
        }
        assert_eq!(check("/srv/a", "."), Err(Invalid::Name));
        assert_eq!(check("a\0", ""), Err(Invalid::Path));
    }

    #[test]
    fn names_are_one_component() {
        for bad in [&b""[..], b".", b"..", b"a/b", b"a\0", &[b'x'; MAX_NAME + 1]] {
            assert_eq!(check_name(bad), Err(Invalid::Name));
        }
        for good in [&b"a"[..], b"...", b"-rf", b"\xff\n", &[b'x'; MAX_NAME]] {
            assert_eq!(check_name(good), Ok(()));
        }
    }
}
